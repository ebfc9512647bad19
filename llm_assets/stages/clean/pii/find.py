"""The engine of patterns: which bytes of a column of texts are PII.

Guarantees the outcome of trying every pattern at every byte of every document, while trying few; time proportional
to the bytes; and that once the spans are masked nothing more is found. What is done with the spans is not decided.

A pattern sees no further than `REACH` bytes, so a span that was cut out can make another one possible only next to
it ("198.51.100.7-a@example.com"). There, and only there, the search is repeated until it finds no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.clean.pii import addresses, emails, numbers, phones, scan
from llm_assets.stages.clean.pii.keys import SECRETS
from llm_assets.stages.clean.pii.pattern import REACH, Pattern
from llm_assets.stages.clean.pii.spans import KINDS, PATTERN_KINDS, Find, Kind, Spans, without_overlaps
from llm_assets.stages.clean.pii.triggers import FIRST_LITERAL, Triggers
from llm_assets.stages.clean.texts import text_buffers

PATTERNS: tuple[Pattern, ...] = (
    emails.EMAIL,
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
"""Every pattern, by the number of its candidate in `triggers`."""

_Integers = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]


def find(texts: pa.LargeStringArray, ranks: Sequence[Sequence[Kind]] = (PATTERN_KINDS,)) -> Spans:
    """Spans of some kinds in each text.

    The kinds of one rank are found as if there were no others; those of the next in what that leaves of the text, so
    that no find of theirs hides one of an earlier rank. Of finds of one rank that overlap the longest remains
    (`without_overlaps`). Raises as `text_buffers` does, and ValueError for a kind without patterns.
    """
    for kind in chain.from_iterable(ranks):
        if kind not in PATTERN_KINDS:
            raise ValueError(f"no pattern finds {kind!r}: the patterns know {', '.join(PATTERN_KINDS)}")
    offsets, data = text_buffers(texts)
    parts = [_Part(data, np.stack([offsets[:-1], offsets[1:]], axis=1), np.arange(len(texts)))]
    finds: list[Find] = []
    for kinds in ranks:
        cut = [part.cut_out(_triggers(frozenset(kinds))) for part in parts]
        finds += [find for found, _ in cut for find in found]
        parts = [left for _, rest in cut for left in rest]
    return Spans.of(finds)


@cache
def _triggers(kinds: frozenset[Kind]) -> Triggers:
    wanted = [code for code in range(FIRST_LITERAL) if PATTERNS[code].kind in kinds]
    literals = [
        (prefix.encode(), code)
        for code, secret in enumerate(SECRETS, FIRST_LITERAL)
        for prefix in secret.prefixes
        if secret.pattern.kind in kinds
    ]
    return Triggers.of(wanted, literals, phones.LABELS)


@dataclass(frozen=True)
class _Part:
    """Some documents of a column: i is `data[documents[i, 0]:documents[i, 1]]`, in row `rows[i]` (int64[n])."""

    data: _Bytes
    documents: _Integers
    rows: _Integers

    def cut_out(self, triggers: Triggers) -> tuple[list[Find], list[_Part]]:
        """Finds, by their rows, of which no two overlap, and what is left: in documents that had some, these are NULs.

        That is all there is, and then what becomes possible next to what was found, and so on.
        """
        everywhere = np.arange(len(self.documents))
        finds = without_overlaps(self._matches(everywhere, self.documents, triggers))
        if not finds:
            return [], [self]
        touched = np.unique([find.document for find in finds])
        blanked, rest = self._copied(touched)
        numbers = {document: number for number, document in enumerate(touched.tolist())}
        fresh = [find._replace(document=numbers[find.document]) for find in finds]
        found: list[Find] = []
        while fresh:
            found += [find._replace(document=int(rest.rows[find.document])) for find in fresh]
            for find in fresh:
                low = rest.documents[find.document, 0]
                blanked[low + find.start : low + find.stop] = 0
            fresh = without_overlaps(rest._matches(*_neighbourhoods(fresh, rest.documents), triggers))
        untouched = np.delete(everywhere, touched)
        return found, [_Part(self.data, self.documents[untouched], self.rows[untouched]), rest]

    def _copied(self, chosen: _Integers) -> tuple[_Bytes, _Part]:
        """Some of the documents in bytes of their own, which may be written to, and as a part that looks at these."""
        before = self.documents[chosen]
        stops = np.cumsum(before[:, 1] - before[:, 0])
        copied = np.concatenate([self.data[start:stop] for start, stop in before.tolist()])
        seen = copied.view()
        seen.flags.writeable = False
        documents = np.stack([stops - (before[:, 1] - before[:, 0]), stops], axis=1)
        return copied, _Part(seen, documents, self.rows[chosen])

    def _matches(self, where: _Integers, ranges: _Integers, triggers: Triggers) -> Iterator[Find]:
        """The matches in each range (int64[n, 2], into the data) of document `where` (int64[n]); some may overlap."""
        candidates = scan.scan(self.data, self.documents[where], ranges, triggers)
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
