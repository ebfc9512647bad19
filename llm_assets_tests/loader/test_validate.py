from pathlib import Path
from typing import Any

import pytest
import torch

from llm_assets.loader import TokenLoader
from llm_assets.loader.batch import HostAssembler
from llm_assets.loader.fields import ALL_FIELDS, Batch
from llm_assets.loader.reading import RowsRead
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardSet
from llm_assets_tests.loader.sets import LENGTH, VOCABULARY, write
from llm_assets_tests.store.shards.examples import seal_again


def spoil(shards: ShardSet, row: int, token: int, value: int) -> Path:
    """Put another id into a row, as a wrong writer might: the checksums fit. Returns the file."""
    layout = shards.index.layout
    shard, place = divmod(row, layout.rows_per_shard)
    path = Path(shards.folder.path) / shards.index.shard_file(shard)
    data = bytearray(path.read_bytes())
    start = layout.input_ids_offset + place * layout.row_stride + 2 * token
    data[start : start + 2] = value.to_bytes(2, "little")
    path.write_bytes(data)
    seal_again(shards)
    return path


def run(folder: Path, **options: Any) -> None:
    for _ in TokenLoader(folder, batch_size=6, validate=True, **options):
        pass


OPTIONS: list[dict[str, Any]] = [
    {},
    {"fields": ["position_ids"]},
    {"prefetch": 2},
    {"device": "cpu"},
    {"sequence_length": 4, "dtype": "narrow"},
    {"rank": 1, "world_size": 2},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_ids_outside_the_vocabulary_name_shard_and_row(tmp_path: Path, options: dict[str, Any]) -> None:
    path = spoil(write(tmp_path, 30), 17, 5, VOCABULARY)
    with pytest.raises(ShardCorruptError, match=r"row 17 of the set has an id outside the vocabulary") as caught:
        run(tmp_path, **options)
    assert caught.value.file == str(path)


def test_padding_that_is_no_padding_is_found(tmp_path: Path) -> None:
    shards = write(tmp_path, 30)
    offsets, lengths = shards.document_lengths(0, 30)
    used = [int(lengths[offsets[row] : offsets[row + 1]].sum()) for row in range(30)]
    row = next(number for number, count in enumerate(used) if count < LENGTH)
    spoil(shards, row, used[row], 7)
    with pytest.raises(ShardCorruptError, match=rf"row {row} of the set has padding other than 0 at token {used[row]}"):
        run(tmp_path)


@pytest.mark.parametrize("field", ["input_ids", "labels", "position_ids", "document_ids", "cu_seqlens"])
@pytest.mark.parametrize("shift", [False, True])
def test_fields_that_disagree_are_found(
    shards: ShardSet, monkeypatch: pytest.MonkeyPatch, field: str, shift: bool
) -> None:
    assemble = HostAssembler.assemble

    def wrong(self: HostAssembler, rows: RowsRead, starts: list[int]) -> tuple[list[Batch], None]:
        batches, _ = assemble(self, rows, starts)
        batches[0][field] = batches[0][field].clone()
        batches[0][field].view(-1)[1] += 1
        return batches, None

    TokenLoader(shards, batch_size=6, fields=ALL_FIELDS, shift_labels=shift, validate=True)
    monkeypatch.setattr(HostAssembler, "assemble", wrong)
    with pytest.raises(ShardCorruptError, match=rf"row 0 of the set has {field} that do not agree"):
        next(iter(TokenLoader(shards, batch_size=6, fields=ALL_FIELDS, shift_labels=shift, validate=True)))


def test_a_wrong_shape_is_found(shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    assemble = HostAssembler.assemble

    def wrong(self: HostAssembler, rows: RowsRead, starts: list[int]) -> tuple[list[Batch], None]:
        batches, _ = assemble(self, rows, starts)
        return [{name: torch.cat([tensor, tensor]) for name, tensor in batch.items()} for batch in batches], None

    monkeypatch.setattr(HostAssembler, "assemble", wrong)
    with pytest.raises(ShardCorruptError, match=r"row 0 of the set is in a batch with \w+ of shape \(12, 12\)"):
        next(iter(TokenLoader(shards, batch_size=6, validate=True)))
