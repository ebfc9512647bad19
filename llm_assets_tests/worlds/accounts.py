"""Where everything in a store came from and went, followed by other means than the store's own."""

from __future__ import annotations

import gzip
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import zstandard
from tokenizers import Tokenizer

from llm_assets.contract.shard_partition import PROVENANCE
from llm_assets.stages.pack.link import PackedLink
from llm_assets.store.ledger import Count
from llm_assets.store.manifest import Manifest
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.worlds.world import World


@dataclass(frozen=True)
class Place:
    """Where a document landed."""

    source: str
    snapshot: str
    file: str
    record: int


class Trace:
    """From a row back to the files that landed. Texts are encoded by the reference library alone."""

    def __init__(self, world: World) -> None:
        self.world = world
        stored, tokenizer = world.tokenizer.stored(world.store), world.tokenizer.load(world.store)
        self._library = Tokenizer.from_str(stored.json_text)
        self._library.encode_special_tokens = True
        self._end = tokenizer.end_of_document_id
        self.landed = cache(self._landed)
        self.tokens = cache(self._tokens)
        self.packed = cache(self._packed)

    def _landed(self, place: Place) -> str:
        """The text as it lies there, normalised."""
        folder = self.world.store.landing / f"{place.source}/{place.snapshot}"
        texts = landed_texts(folder.local_path(place.file))
        return unicodedata.normalize("NFC", texts[place.record - 1])

    def _tokens(self, place: Place) -> list[int]:
        return [*self._library.encode(self.landed(place), add_special_tokens=False).ids, self._end]

    def _packed(self, source: str, snapshot: str) -> tuple[ShardSet, dict[int, list[dict[str, Any]]]]:
        """A packed set, and the pieces of each of its rows."""
        shards = ShardSet.open(self.world.store.packed(source, snapshot))
        pieces: dict[int, list[dict[str, Any]]] = {}
        for piece in provenance(shards):
            pieces.setdefault(piece["row"], []).append(piece)
        return shards, pieces

    def rows(self, source: str, snapshot: str) -> Iterator[tuple[list[int], list[tuple[Place, int, int]]]]:
        """Of every packed row its tokens without padding, and (document, first token, tokens) of its pieces."""
        shards, pieces = self.packed(source, snapshot)
        for row in range(shards.rows):
            ids = shards.input_ids(row, row + 1)[0].tolist()
            lengths = shards.document_lengths(row, row + 1).lengths.tolist()
            assert [piece["length"] for piece in pieces[row]] == lengths
            assert [piece["start"] for piece in pieces[row]] == [sum(lengths[:n]) for n in range(len(lengths))]
            used = sum(lengths)
            assert ids[used:] == [shards.index.pad_id] * (len(ids) - used)
            places = [
                (Place(source, snapshot, p["file"], p["record"]), p["document_start"], p["length"]) for p in pieces[row]
            ]
            yield ids[:used], places


@cache
def landed_texts(path: Path) -> list[str]:
    """The texts of a landed file without errors, in order, by the standard library and pyarrow."""
    if path.suffix == ".parquet":
        return pq.read_table(path)["text"].to_pylist()
    content, suffixes = path.read_bytes(), path.suffixes
    if suffixes[-1] == ".gz":
        content, suffixes = gzip.decompress(content), suffixes[:-1]
    elif suffixes[-1] == ".zst":
        content, suffixes = zstandard.ZstdDecompressor().decompressobj().decompress(content), suffixes[:-1]
    if suffixes[-1] == ".jsonl":
        return [json.loads(line)["text"] for line in content.splitlines()]
    return [content.decode()]


def provenance(shards: ShardSet) -> list[dict[str, Any]]:
    """By pyarrow alone."""
    return pq.read_table(shards.folder.local_path(f"{shards.index.generation}/{PROVENANCE}")).to_pylist()


def kept_documents(world: World, source: str, snapshot: str) -> pl.DataFrame:
    """Cleaned documents that the verdicts keep, by Polars from the Delta tables alone."""
    here = (pl.col("snapshot") == snapshot) & pl.col("disposition").is_in(["kept", "verdict"])
    cleaned = pl.scan_delta((world.store.source(source) / "cleaned").uri).filter(here)
    verdicts = pl.scan_delta((world.store.source(source) / "deduped").uri).filter(here & pl.col("kept"))
    place = ["doc_id", "file", "record"]
    return cleaned.join(verdicts.select(place), on=place, how="semi").collect()


def counted(world: World, source: str, stage: str, snapshot: str, disposition: str, amount: str = "text") -> Count:
    """Documents and bytes of text in a Delta table."""
    rows = (
        pl.scan_delta((world.store.source(source) / stage).uri)
        .filter((pl.col("snapshot") == snapshot) & (pl.col("disposition") == disposition))
        .select(pl.len().alias("documents"), pl.col(amount).str.len_bytes().sum().alias("bytes"))
        .collect()
        .row(0, named=True)
    )
    return Count(rows["documents"], rows["bytes"])


def check_ledgers(world: World, packed: PackedLink, snapshot: str) -> None:
    """In = kept + dropped + quarantined at every stage, out = in of the next, and all as in the data."""
    store, source = world.store, packed.source
    manifests = {link.asset.split("/")[1]: link.committed(store, snapshot) for link in packed.lineage}
    ledgers = {stage: manifest.ledger for stage, manifest in manifests.items() if isinstance(manifest, Manifest)}
    assert [*ledgers] == ["raw", "cleaned", "deduped", "tokenized", "packed"]
    for ledger in ledgers.values():
        assert ledger.incoming == ledger.accounted
    stages = [*ledgers.values()]
    for stage, following in pairwise(stages):
        assert stage.output == following.incoming
    assert ledgers["packed"].output.tokens == ledgers["tokenized"].output.tokens == ledgers["packed"].kept.tokens
    assert counted(world, source, "raw", snapshot, "kept") == ledgers["raw"].output
    assert counted(world, source, "cleaned", snapshot, "kept") == ledgers["cleaned"].output
    rejected = counted(world, source, "cleaned", snapshot, "rejected")
    assert rejected.documents == ledgers["cleaned"].dropped_total.documents
    kept = kept_documents(world, source, snapshot)
    assert Count(kept.height, int(kept["text"].str.len_bytes().sum())) == ledgers["deduped"].output
    shards = ShardSet.open(store.packed(source, snapshot))
    assert shards.index.tokens == ledgers["packed"].output.tokens and shards.rows == ledgers["packed"].output.rows
