"""A stratified sample of cleaned documents, written to one Parquet file.

Guarantees that the same snapshots, sampling and seed give the same rows in the same order (document order), that every
stratum has its share to within a document, and that the file appears complete or not at all. Only the columns that
make strata are read of all documents; of them a few numbers each are held. How a document's hash decides stands in
`stages.sample`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from llm_assets.contract.by_hash import Hashes, combined_strata, hashes, quantile_strata, stratified_sample
from llm_assets.contract.stage import Disposition
from llm_assets.errors import LlmAssetsError
from llm_assets.stages.clean.columns import CLEANED_SCHEMA
from llm_assets.stages.clean.findings import columns_of, numbers
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.store.documents import SnapshotFiles

SAMPLE_SCHEMA: Final = pa.schema(
    [pa.field("snapshot", pa.large_string()), pa.field("stratum", pa.large_string()), *CLEANED_SCHEMA]
)
CATEGORIES: Final = ("language", "split", "fold", "shard", "file", "snapshot")
"""Columns each value of which is a stratum."""

_PURPOSE: Final = "sample"
_WRITE_BYTES: Final = 32 << 20


class SamplingError(LlmAssetsError, ValueError):
    """A sample that cannot be drawn: says what could."""


@dataclass(frozen=True)
class Sampling:
    """The size of a sample: `fraction` of every stratum, or `documents` in all, shared out in proportion.

    `by` names statistics, cut at quantiles into `strata` parts, and `CATEGORIES`; strata are their combinations, and
    all documents are one where there is none. The smallest hashes of a stratum are taken, so that a larger sample
    contains a smaller one of the same seed as long as the documents are the same.
    """

    fraction: float | None = None
    documents: int | None = None
    by: tuple[str, ...] = ()
    strata: int = 10
    seed: int = 0
    disposition: Disposition = Disposition.KEPT

    def require_possible(self, parameters: CleanParameters) -> None:
        """Raises SamplingError."""
        if (self.fraction is None) == (self.documents is None):
            raise SamplingError("say how many: a fraction, or a number of documents, and not both")
        if self.fraction is not None and not 0 <= self.fraction <= 1:
            raise SamplingError(f"a fraction of {self.fraction}: 0 to 1")
        if self.documents is not None and self.documents < 0:
            raise SamplingError(f"{self.documents} documents")
        if self.strata < 1:
            raise SamplingError(f"{self.strata} strata")
        for name in self.by:
            if name not in CATEGORIES and name not in parameters.numbers:
                known = f"{', '.join(CATEGORIES)}; by quantiles {', '.join(parameters.numbers)}"
                raise SamplingError(f"there are no strata by {name!r}; there are by value {known}")


@dataclass(frozen=True)
class DrawnStratum:
    """One stratum: what its documents have in common, by `Sampling.by`; how many it has, how many were taken."""

    of: Mapping[str, str]
    documents: int
    taken: int

    @property
    def label(self) -> str:
        """`characters 52–310, language en`; "all" where there is one."""
        return ", ".join(f"{name} {value}" for name, value in self.of.items()) or "all"


def draw(
    snapshots: Mapping[str, SnapshotFiles], parameters: CleanParameters, sampling: Sampling, output: Path
) -> list[DrawnStratum]:
    """Write the sample of snapshots, by name, in `SAMPLE_SCHEMA`, and tell its strata in their order.

    Raises SamplingError, and OSError where the file cannot be written.
    """
    sampling.require_possible(parameters)
    if not output.parent.is_dir():
        raise SamplingError(f"{output.parent} is no folder: the sample is to be written there")
    population = _Population(sampling)
    for name, files in snapshots.items():
        population.read(name, files)
    numbered, described = population.strata()
    hashed = population.hashes()
    sizes = np.bincount(numbered, minlength=len(described)).tolist()
    taken, counts = stratified_sample(hashed, numbered, _fractions(sampling, sizes))
    drawn = [
        DrawnStratum(of, documents, counts[number].taken)
        for number, (of, documents) in enumerate(zip(described, sizes, strict=True))
    ]
    labels = pa.array([each.label for each in drawn], pa.large_string())
    with _replaced(output) as temporary, pq.ParquetWriter(temporary, SAMPLE_SCHEMA, compression="zstd") as writer:
        for table in _together(_rows(snapshots, sampling, population, taken, numbered, labels)):
            writer.write_table(table)
    return drawn


def _fractions(sampling: Sampling, sizes: Sequence[int]) -> float | dict[int, float]:
    if sampling.fraction is not None:
        return sampling.fraction
    shares = _shared_out(sampling.documents or 0, sizes)
    return {number: share / size for number, (share, size) in enumerate(zip(shares, sizes, strict=True))}


def _shared_out(wanted: int, sizes: Sequence[int]) -> list[int]:
    """So many documents, or all there are, in proportion to the sizes: what is left goes to the largest remainders."""
    total = sum(sizes)
    if wanted >= total:
        return list(sizes)
    parts = [divmod(wanted * size, total) for size in sizes]
    shares = [share for share, _ in parts]
    by_remainder = sorted(range(len(sizes)), key=lambda number: -parts[number][1])
    for number in by_remainder[: wanted - sum(shares)]:
        shares[number] += 1
    return shares


@dataclass
class _Population:
    """The hashes of all documents, and what makes strata of them, in the order of snapshots and documents."""

    sampling: Sampling
    _hashes: list[Hashes] = field(default_factory=list[Hashes])
    _numbers: dict[str, list[npt.NDArray[np.float64]]] = field(default_factory=dict[str, Any])
    _codes: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict[str, Any])
    _values: dict[str, dict[Any, int]] = field(default_factory=dict[str, Any])
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    """Documents by snapshot."""

    def read(self, snapshot: str, files: SnapshotFiles) -> None:
        """The documents of a snapshot."""
        categories = [name for name in self.sampling.by if name in CATEGORIES]
        measured = [name for name in self.sampling.by if name not in CATEGORIES]
        columns = ["doc_id", *(name for name in categories if name != "snapshot"), *columns_of(measured)]
        self.sizes[snapshot] = 0
        for batch in files.batches(self.sampling.disposition, list(dict.fromkeys(columns))):
            if not len(batch):
                continue
            self.sizes[snapshot] += len(batch)
            self._hashes.append(hashes(batch["doc_id"], self.sampling.seed, _PURPOSE))
            for name in categories:
                column = pa.repeat(snapshot, len(batch)) if name == "snapshot" else batch[name]
                self._codes.setdefault(name, []).append(self._coded(name, column))
            known = numbers(batch) if measured else None
            for name in measured:
                if known is None or name not in known.type.names:
                    raise SamplingError(f"{snapshot} was made without {name}: make it again, or sample by another")
                values = known.field(name).to_numpy(zero_copy_only=False)
                self._numbers.setdefault(name, []).append(values.astype(np.float64))

    def _coded(self, name: str, column: pa.Array) -> npt.NDArray[np.int64]:
        codes = self._values.setdefault(name, {})
        encoded = column.dictionary_encode(null_encoding="encode")
        own = [codes.setdefault(value, len(codes)) for value in encoded.dictionary.to_pylist()]
        return np.array(own, np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]

    def hashes(self) -> Hashes:
        """Hashes of all documents: uint64 [documents]."""
        return np.concatenate([np.empty(0, np.uint64), *self._hashes])

    def strata(self) -> tuple[npt.NDArray[np.int64], list[dict[str, str]]]:
        """The number of every document's stratum, int64 [documents], and what each stratum's documents are."""
        documents = sum(self.sizes.values())
        if not self.sampling.by or not documents:
            return np.zeros(documents, np.int64), [{}] if documents else []
        parts = [self._quantiles(name) if name in self._numbers else self._sorted(name) for name in self.sampling.by]
        numbered = combined_strata([part for part, _ in parts])
        _, first = np.unique(numbered, return_index=True)
        described = [
            {name: labels[int(part[row])] for name, (part, labels) in zip(self.sampling.by, parts, strict=True)}
            for row in first.tolist()
        ]
        return numbered, described

    def _quantiles(self, name: str) -> tuple[npt.NDArray[np.int64], dict[int, str]]:
        values = np.concatenate(self._numbers[name])
        numbered = quantile_strata(values, self.sampling.strata)
        labels: dict[int, str] = {}
        for stratum in np.unique(numbered).tolist():
            members = values[numbered == stratum]
            low, high = (f"{bound:.6g}" for bound in (members.min(), members.max()))
            labels[stratum] = low if low == high else f"{low}–{high}"
        return numbered, labels

    def _sorted(self, name: str) -> tuple[npt.NDArray[np.int64], dict[int, str]]:
        codes = self._values[name]
        order = sorted(value for value in codes if value is not None) + [None] * (None in codes)
        places = np.empty(len(codes), np.int64)
        places[[codes[value] for value in order]] = np.arange(len(codes))
        labels = {place: "(none)" if value is None else str(value) for place, value in enumerate(order)}
        return places[np.concatenate(self._codes[name])], labels


def _rows(
    snapshots: Mapping[str, SnapshotFiles],
    sampling: Sampling,
    population: _Population,
    taken: npt.NDArray[np.bool_],
    numbered: npt.NDArray[np.int64],
    labels: pa.LargeStringArray,
) -> Iterator[pa.RecordBatch]:
    """The documents taken, in `SAMPLE_SCHEMA`, in their order."""
    start = 0
    for name, files in snapshots.items():
        end = start + population.sizes[name]
        places = np.flatnonzero(taken[start:end])
        done = 0
        for batch in files.take(sampling.disposition, places, CLEANED_SCHEMA.names):
            strata = numbered[start:end][places[done : done + len(batch)]]
            done += len(batch)
            columns = [
                pa.repeat(pa.scalar(name, pa.large_string()), len(batch)),
                labels.take(pa.array(strata)),
                *(batch[each] for each in CLEANED_SCHEMA.names),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=SAMPLE_SCHEMA)
        start = end


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches as tables of about `_WRITE_BYTES`: a row group each, however few rows a batch has."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= _WRITE_BYTES:
            yield pa.Table.from_batches(held)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held)


@contextmanager
def _replaced(path: Path) -> Generator[Any]:
    """A file to write that replaces `path` when all went well, and is gone otherwise."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
