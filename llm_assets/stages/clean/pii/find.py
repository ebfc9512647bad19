"""The engine of patterns: which bytes of a column of texts are PII.

Guarantees the outcome of trying every pattern at every byte of every document, while trying few; time proportional
to the bytes; and that once the spans are masked nothing more is found. What is done with the spans is not decided.

A pattern sees no further than `REACH` bytes, so a span that was cut out can make another one possible only next to
it ("198.51.100.7-a@example.com"). There, and only there, the search is repeated until it finds no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.clean.pii import addresses, numbers, phones, scan
from llm_assets.stages.clean.pii.keys import SECRETS
from llm_assets.stages.clean.pii.pattern import REACH, Pattern
from llm_assets.stages.clean.pii.spans import KINDS, PATTERN_KINDS, Find, Kind, Spans, without_overlaps
from llm_assets.stages.clean.texts import text_buffers

PATTERNS: tuple[Pattern, ...] = (
    addresses.EMAIL,
    addresses.IPV4,
    addresses.IPV6,
    numbers.CARD,
    numbers.SSN,
    numbers.IBAN,
    phones.INTERNATIONAL,
    phones.NORTH_AMERICAN,
    phones.NATIONAL,
    *(secret.pattern for secret in SECRETS),
)
"""Every pattern, by the number of its candidate in `scan`."""

_Integers = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]


def find(texts: pa.LargeStringArray, kinds: Sequence[Kind] = PATTERN_KINDS) -> Spans:
    """Spans of these kinds in each text. Raises as `text_buffers` does, and ValueError for a kind without patterns."""
    for kind in kinds:
        if kind not in PATTERN_KINDS:
            raise ValueError(f"no pattern finds {kind!r}: the patterns know {', '.join(PATTERN_KINDS)}")
    offsets, data = text_buffers(texts)
    documents = np.stack([offsets[:-1], offsets[1:]], axis=1)
    search = _Search(data, documents, _triggers(frozenset(kinds)))
    finds = without_overlaps(search.finds(np.arange(len(documents)), documents))
    return Spans.of([*finds, *_beside(finds, search)]) if finds else Spans.of([])


@cache
def _triggers(kinds: frozenset[Kind]) -> scan.Triggers:
    wanted = [code for code in range(scan.FIRST_LITERAL) if PATTERNS[code].kind in kinds]
    literals = [
        (prefix.encode(), code)
        for code, secret in enumerate(SECRETS, scan.FIRST_LITERAL)
        for prefix in secret.prefixes
        if secret.pattern.kind in kinds
    ]
    return scan.Triggers.of(wanted, literals)


@dataclass(frozen=True)
class _Search:
    """Documents and what to look for: document i is `data[documents[i, 0]:documents[i, 1]]`."""

    data: _Bytes
    documents: _Integers
    triggers: scan.Triggers

    def finds(self, where: _Integers, ranges: _Integers) -> Iterable[Find]:
        """What matches in each range (int64[n, 2], into `data`) of document `where` (int64[n]); some may overlap."""
        candidates = scan.scan(self.data, self.documents[where], ranges, self.triggers)
        whole, text, current, low = self.data.data, memoryview(b""), -1, 0
        rows = zip(
            where[candidates.range].tolist(), candidates.position.tolist(), candidates.code.tolist(), strict=True
        )
        for document, position, code in rows:
            if document != current:
                low, high = self.documents[document].tolist()
                current, text = document, whole[low:high]
            pattern = PATTERNS[code]
            extent = pattern.at(text, position - low)
            if extent is not None:
                yield Find(document, extent[0], extent[1], KINDS.index(pattern.kind))


def _beside(finds: Sequence[Find], search: _Search) -> list[Find]:
    """What becomes possible next to the finds once these are cut out, and next to that, and so on."""
    chosen = np.array(sorted({find.document for find in finds}), np.int64)
    before = search.documents[chosen]
    stops = np.cumsum(before[:, 1] - before[:, 0])
    documents = np.stack([stops - (before[:, 1] - before[:, 0]), stops], axis=1)
    blanked = np.concatenate([search.data[start:stop] for start, stop in before.tolist()])
    data = blanked.view()
    data.flags.writeable = False
    rest = _Search(data, documents, search.triggers)
    rows = {document: row for row, document in enumerate(chosen.tolist())}
    added: list[Find] = []
    fresh = [find._replace(document=rows[find.document]) for find in finds]
    while fresh:
        for find in fresh:
            low = documents[find.document, 0]
            blanked[low + find.start : low + find.stop] = 0
        fresh = without_overlaps(rest.finds(*_neighbourhoods(fresh, documents)))
        added += fresh
    return [find._replace(document=int(chosen[find.document])) for find in added]


def _neighbourhoods(finds: Sequence[Find], documents: _Integers) -> tuple[_Integers, _Integers]:
    """Document (int64[n]) and bytes (int64[n, 2]) within `REACH` of the finds, none of them twice."""
    merged: list[tuple[int, int, int]] = []
    for find in sorted(finds):
        low, high = documents[find.document].tolist()
        start, stop = max(low, low + find.start - REACH), min(high, low + find.stop + REACH)
        if merged and merged[-1][0] == find.document and start <= merged[-1][2]:
            start, stop = merged[-1][1], max(stop, merged[-1][2])
            merged.pop()
        merged.append((find.document, start, stop))
    table = np.array(merged, np.int64)
    return table[:, 0], np.ascontiguousarray(table[:, 1:])
