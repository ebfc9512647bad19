"""Which documents a classifier is trained on, and which it is tried on.

Guarantees that a document is held out, or not, by its `doc_id` alone, whatever else there is; that no held-out text
was trained on; and that the draw is the same in whatever order and batches the documents come. Memory is bounded by
about four times `max_bytes` for each class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from llm_assets.contract.by_hash import Hashes, hashes, sampled
from llm_assets.kernels.arrow import byte_lengths
from llm_assets.stages.clean.edit.normalise import normalise
from llm_assets.stages.clean.quality.parameters import DrawParameters
from llm_assets.store.ledger import Count

_PURPOSE = "quality"  # of the hash, so that this draw is independent of samples and splits
_SCHEMA = pa.schema([("hash", pa.uint64()), ("text", pa.large_string())])


@dataclass(frozen=True)
class Class:
    """The texts of one class, both columns `large_string` in the order of their documents' hashes."""

    train: pa.LargeStringArray
    held_out: pa.LargeStringArray


@dataclass(frozen=True)
class Drawn:
    """Texts to train and evaluate a classifier, equally many of either class, and how many there were to draw from."""

    good: Class
    ordinary: Class
    incoming: Count

    @property
    def train(self) -> Count:
        """Counts of the texts for training."""
        return amount(self.good.train) + amount(self.ordinary.train)

    @property
    def held_out(self) -> Count:
        """Counts of the texts held out for evaluation."""
        return amount(self.good.held_out) + amount(self.ordinary.held_out)


def draw(good: Iterable[pa.RecordBatch], ordinary: Iterable[pa.RecordBatch], parameters: DrawParameters) -> Drawn:
    """Draw from batches with `doc_id` (binary(16)) and `text` (large_string).

    Texts that both classes have say nothing about either, and are left out. A text is drawn once.
    """
    first, second = _Drawing(parameters), _Drawing(parameters)
    for drawing, batches in ((first, good), (second, ordinary)):
        for batch in batches:
            drawing.add(batch)
    ours, theirs = first.drawn(), second.drawn()
    ours, theirs = _without(ours, theirs), _without(theirs, ours)
    train = min(len(ours.train), len(theirs.train))
    held_out = min(len(ours.held_out), len(theirs.held_out))
    return Drawn(
        _shortened(ours, train, held_out), _shortened(theirs, train, held_out), first.incoming + second.incoming
    )


class _Pool:
    """The added documents with the smallest hashes, up to a number and an amount."""

    def __init__(self, max_documents: int, max_bytes: int) -> None:
        self._max_documents, self._max_bytes = max_documents, max_bytes
        self._tables: list[pa.Table] = []
        self._size = 0
        self.cut: int | None = None  # from this hash on, no document can be drawn any more

    def add(self, hashed: Hashes, texts: pa.LargeStringArray) -> None:
        self._tables.append(pa.table([pa.array(hashed), texts], schema=_SCHEMA))
        self._size += int(byte_lengths(texts).sum())
        if 2 * self._size > 3 * self._max_bytes or sum(map(len, self._tables)) > 2 * self._max_documents:
            self.texts()

    def texts(self) -> pa.LargeStringArray:
        """Those drawn, by rising hash."""
        table = pa.concat_tables([_SCHEMA.empty_table(), *self._tables])
        hashed, places = np.unique(table["hash"].to_numpy(), return_index=True)
        sizes = pc.call_function("binary_length", [table["text"]]).to_numpy()[places]
        drawn = min(int(np.searchsorted(np.cumsum(sizes), self._max_bytes, side="right")), self._max_documents)
        if drawn < len(hashed):
            self.cut = int(hashed[drawn])
        table = table.take(pa.array(places[:drawn]))
        self._tables = [table]
        self._size = int(sizes[:drawn].sum())
        return _one_array(table["text"])


class _Drawing:
    """The draw from one class."""

    def __init__(self, parameters: DrawParameters) -> None:
        share = parameters.held_out
        self._parameters = parameters
        self._train = _Pool(parameters.max_documents, parameters.max_bytes)
        self._held_out = _Pool(
            max(1, round(parameters.max_documents * share)), max(1, round(parameters.max_bytes * share))
        )
        self.incoming = Count()

    def add(self, batch: pa.RecordBatch) -> None:
        texts = batch["text"]
        self.incoming += amount(texts)
        hashed = hashes(batch["doc_id"], self._parameters.seed, _PURPOSE)
        held_out = sampled(hashed, self._parameters.held_out)
        for pool, member in ((self._train, ~held_out), (self._held_out, held_out)):
            chosen = member & (byte_lengths(texts) > 0)
            if pool.cut is not None:
                chosen &= hashed < np.uint64(pool.cut)
            if chosen.any():
                pool.add(hashed[chosen], self._prepared(texts.filter(pa.array(chosen))))

    def _prepared(self, texts: pa.LargeStringArray) -> pa.LargeStringArray:
        limit = self._parameters.max_document_characters
        shortened = pc.call_function("utf8_slice_codeunits", [texts], pc.SliceOptions(0, limit))
        return normalise(shortened, self._parameters.normalise).texts

    def drawn(self) -> Class:
        return Class(_distinct(self._train.texts()), _distinct(self._held_out.texts()))


def _without(ours: Class, theirs: Class) -> Class:
    """A class without the texts that the other class has; what is held out, also without those trained on."""
    others = pa.chunked_array([theirs.train, theirs.held_out], pa.large_string())
    trained = pa.chunked_array([*others.chunks, ours.train], pa.large_string())
    return Class(_not_in(ours.train, others), _not_in(ours.held_out, trained))


def _not_in(texts: pa.LargeStringArray, others: pa.ChunkedArray) -> pa.LargeStringArray:
    known: npt.NDArray[np.bool_] = pc.call_function("is_in", [texts], pc.SetLookupOptions(others)).to_numpy(
        zero_copy_only=False
    )
    return texts.filter(pa.array(~known)) if known.any() else texts


def _distinct(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """The texts without copies, in the order of the first of each."""
    distinct = _one_array(pc.call_function("unique", [texts]))
    return distinct if len(distinct) < len(texts) else texts  # else they are the same, and held already


def _shortened(texts: Class, train: int, held_out: int) -> Class:
    return Class(texts.train.slice(0, train), texts.held_out.slice(0, held_out))


def _one_array(texts: pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays([pa.array([], pa.large_string()), *chunks])


def amount(texts: pa.LargeStringArray) -> Count:
    """Number and bytes of some texts."""
    return Count(len(texts), int(byte_lengths(texts).sum()))
