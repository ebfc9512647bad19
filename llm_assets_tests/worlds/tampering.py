"""Ways to damage what a link staged, for checks to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm_assets.contract.shard_partition import PROVENANCE, StagedShards
from llm_assets.store.documents import StagedSnapshot
from llm_assets.store.ledger import Count
from llm_assets.store.token_set import StagedTokenSet

TableChange = Callable[[pa.Table], pa.Table]


def change_rows(staged: StagedSnapshot, disposition: str, change: TableChange) -> StagedSnapshot:
    """Rewrite the first file of a disposition that has rows."""
    file = next(file for file in staged.files if file.disposition == disposition and file.rows)
    path = staged.folder.local_path(file.path)
    pq.write_table(change(pq.ParquetFile(path).read()), path)
    return staged


def lose_a_row(table: pa.Table) -> pa.Table:
    return table.slice(1)


def repeat_a_row(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)])


def setting(name: str, value: Any) -> TableChange:
    """The column with the value in every row."""

    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        values = pa.array([value] * table.num_rows, table.schema.field(name).type)
        return table.set_column(place, table.schema.field(name), values)

    return change


def change_ids(staged: StagedTokenSet, change: Callable[[list[list[int]]], None]) -> StagedTokenSet:
    """Rewrite the ids of the first part."""
    path = staged.folder.local_path(staged.parts[0].path)
    with pa.OSFile(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    ids = table["input_ids"].to_pylist()
    change(ids)
    table = table.slice(0, len(ids)).set_column(
        table.schema.get_field_index("input_ids"),
        table.schema.field("input_ids"),
        pa.array(ids, table.schema.field("input_ids").type),
    )
    path.unlink()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return staged


def flip_byte(staged: StagedShards, offset: int = 0) -> StagedShards:
    """Change one byte of the first row of the first shard, `offset` bytes into its token ids."""
    index = staged.shards.index
    path = staged.shards.folder.local_path(index.shard_file(0))
    content = bytearray(path.read_bytes())
    content[index.layout.input_ids_offset + offset] ^= 1
    path.write_bytes(content)
    return staged


def change_provenance(staged: StagedShards, change: TableChange) -> StagedShards:
    """Rewrite where the rows come from."""
    path = staged.shards.folder.local_path(f"{staged.shards.index.generation}/{PROVENANCE}")
    pq.write_table(change(pq.ParquetFile(path).read()), path)
    return staged


def change_ledger(staged: Any, **counts: Count) -> Any:
    """The same with other numbers in its ledger."""
    manifest = staged.manifest
    return replace(staged, manifest=replace(manifest, ledger=replace(manifest.ledger, **counts)))
