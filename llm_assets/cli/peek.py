"""`llm-assets peek`: documents of a stage, or decoded rows of a mixture with the boundaries visible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

from llm_assets.components.project import Project
from llm_assets.contract.shard_partition import open_shards
from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.stage import CLEANED_SCHEMA
from llm_assets.stages.dedup.link import open_deduped
from llm_assets.stages.read.stage import RAW_SCHEMA
from llm_assets.stages.tokenize.encode import FrozenTokenizer
from llm_assets.store.layout import Store
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets.store.token_set import TokenSet

_SHADES = ("default", "cyan")
_STAGES = ("raw", "cleaned", "deduped", "tokenized", "packed")
_SCHEMAS = {"raw": RAW_SCHEMA, "cleaned": CLEANED_SCHEMA}


class TargetError(ValueError):
    """A target that names nothing: says what it could name."""


@dataclass(frozen=True)
class Target:
    """`name/stage` or `name/stage@partition`; without partition the newest."""

    name: str
    stage: str
    partition: str | None

    @staticmethod
    def parse(text: str) -> Target:
        """Raises TargetError."""
        asset, _, partition = text.partition("@")
        name, _, stage = asset.partition("/")
        if not name or not stage:
            raise TargetError(f"{text!r} is not a target: write docs/cleaned, docs/cleaned@2026-01 or demo/mixed@v1")
        return Target(name, stage, partition or None)


def peek(
    project: Project, store: Store, target: Target, count: int, disposition: Disposition
) -> Iterator[RenderableType]:
    """Some documents or rows of the target, ready to print. Raises TargetError."""
    if target.name in project.mixtures and target.stage == "mixed":
        mixed = project.mixtures[target.name]
        partition = _partition(mixed.versions(store).names(), target)
        _, tokenizer = mixed.sources[0].tokenized.tokenizer.open(store)
        return _rows(open_shards(store.version(target.name, partition)), tokenizer, count, target)
    if target.name not in project.sources:
        known = [*(f"{name}/…" for name in project.sources), *(f"{name}/mixed" for name in project.mixtures)]
        raise TargetError(f"nothing is called {target.name}/{target.stage}; there are: {', '.join(known)}")
    if target.stage not in _STAGES:
        raise TargetError(f"{target.stage!r} is no stage: a source has {', '.join(_STAGES)}")
    partition = _partition(store.order(target.name).names(), target)
    if target.stage in ("tokenized", "packed"):
        _, tokenizer = project.sources[target.name].tokenized.tokenizer.open(store)
        if target.stage == "packed":
            return _rows(open_shards(store.packed(target.name, partition)), tokenizer, count, target)
        return _token_documents(TokenSet.open(store.tokenized(target.name, partition)), tokenizer, count, target)
    return _documents(store, target, partition, count, disposition)


def _partition(names: list[str], target: Target) -> str:
    """The partition that the target names, or the newest."""
    if not names:
        raise TargetError(f"{target.name}/{target.stage} has no partition yet: run `llm-assets run`")
    if target.partition is not None and target.partition not in names:
        raise TargetError(f"{target.name} has no partition {target.partition!r}; there are: {', '.join(names)}")
    return target.partition or names[-1]


def _nothing(target: Target) -> TargetError:
    return TargetError(f"{target.name}/{target.stage} is not committed for that partition: run `llm-assets run`")


def _documents(
    store: Store, target: Target, partition: str, count: int, disposition: Disposition
) -> Iterator[RenderableType]:
    for row in islice(_document_rows(store, target, partition, disposition), count):
        title = f"{row['file']}:{row['record']}"
        notes = [f"{name}: {row[name]}" for name in ("error", "error_detail", "reasons") if row.get(name)]
        body = row["text"] if row.get("text") is not None else repr(row.get("raw"))
        yield Panel(
            Text(body), title=Text(title), title_align="left", subtitle=Text("; ".join(notes)) if notes else None
        )


def _document_rows(store: Store, target: Target, partition: str, disposition: Disposition) -> Iterator[dict[str, Any]]:
    if target.stage == "deduped":
        found = open_deduped(store, target.name, partition)
        if found is None:
            raise _nothing(target)
        batches: Iterator[pa.RecordBatch] = found[1].batches(["file", "record", "text"])
    else:
        snapshot = store.documents(target.name, target.stage, _SCHEMAS[target.stage]).snapshot(partition)
        if snapshot is None:
            raise _nothing(target)
        batches = snapshot.batches(disposition)
    for batch in batches:
        yield from batch.to_pylist()


def _token_documents(
    tokens: TokenSet | None, tokenizer: FrozenTokenizer, count: int, target: Target
) -> Iterator[RenderableType]:
    if tokens is None:
        raise _nothing(target)
    rows = (row for batch in tokens.batches() for row in batch.slice(0, count).to_pylist())
    for row in islice(rows, count):
        text = _segments(tokenizer, np.array(row["input_ids"]), [len(row["input_ids"])])
        title = Text(f"{row['file']}:{row['record']}  {len(row['input_ids']):,} tokens")
        yield Panel(text, title=title, title_align="left")


def _rows(shards: ShardSet | None, tokenizer: FrozenTokenizer, count: int, target: Target) -> Iterator[RenderableType]:
    if shards is None:
        raise _nothing(target)
    for row in range(min(count, shards.rows)):
        ids = shards.input_ids(row, row + 1)[0]
        lengths = shards.document_lengths(row, row + 1).lengths.tolist()
        padding = shards.sequence_length - sum(lengths)
        title = f"row {row:,} of {shards.rows:,}: {len(lengths)} documents, {padding} tokens of padding"
        yield Panel(_segments(tokenizer, ids, lengths), title=title, title_align="left")


def _segments(tokenizer: FrozenTokenizer, ids: np.ndarray, lengths: list[int]) -> Text:
    """The documents of a row in alternating colours, a mark after each."""
    text = Text()
    start = 0
    for place, length in enumerate(lengths):
        text.append(tokenizer.decode(ids[start : start + length]), style=_SHADES[place % 2])
        text.append("⏎ document ends\n" if place + 1 < len(lengths) else "", style="bold red")
        start += length
    return text
