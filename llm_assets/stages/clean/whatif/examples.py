"""Examples of documents on either side of a threshold, chosen from numbers alone and read at the end.

Guarantees that the same documents give the same examples, and that no text is read but theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from llm_assets.contract.samples import preview
from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.judge import Verdicts
from llm_assets.stages.clean.language.language import LANGUAGE
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.rules import Rule
from llm_assets.store.documents import SnapshotFiles

_PREVIEW: Final = 160
_ABOUT_LANGUAGES: Final = ("language.allow", "language.min_confidence")
_SHOWN: Final = ("file", "record", LANGUAGE, "text")


@dataclass(frozen=True)
class Example:
    """A document beside the threshold of a rule that changes: of the rule as it will be, or, switched off, as it was.

    `breaks` is whether it breaks that rule. `text` is its beginning on one line.
    """

    rule: str
    breaks: bool
    value: float
    kept_before: bool
    kept_after: bool
    snapshot: str
    file: str
    record: int
    language: str | None
    text: str


@dataclass(frozen=True, order=True)
class _FoundExample:
    """A document, ordered by how good an example it is: by rank, then what is nearest.

    Rank 0 are those whose fate the rule changes, 1 others that it judges otherwise, 2 those that it judges alike.
    """

    rank: int
    distance: float
    snapshot: int
    disposition: Disposition
    place: int
    value: float
    kept: tuple[bool, bool]


@dataclass(frozen=True)
class _Watched:
    """A rule that changes: as it will be, or was, and its number before and after. `moves_only`: no threshold moves."""

    rule: Rule
    before: int | None
    after: int | None
    moves_only: bool

    def values(self, before: Verdicts, after: Verdicts) -> npt.NDArray[np.float64]:
        """The values of the rule's statistic: float64 [documents]."""
        return before.values[:, self.before] if self.after is None else after.values[:, self.after]

    def broken(self, before: Verdicts, after: Verdicts) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Who breaks it before and after: bool [documents] each. Who breaks what is switched off: nobody."""
        nobody = np.zeros(len(before.broken), np.bool_)
        return (
            nobody if self.before is None else before.broken[:, self.before],
            nobody if self.after is None else after.broken[:, self.after],
        )


def _watched(before: CleanParameters, after: CleanParameters) -> Iterator[_Watched]:
    """The rules that change. One about languages may with its threshold as it is."""
    old, new = ({rule.name: number for number, rule in enumerate(each.rules)} for each in (before, after))
    allowed = [each.language.allow if each.language else None for each in (before, after)]
    for name in dict.fromkeys((*new, *old)):
        was, now = old.get(name), new.get(name)
        moved = was is None or now is None or before.rules[was] != after.rules[now]
        if moved or (name in _ABOUT_LANGUAGES and allowed[0] != allowed[1]):
            rule = after.rules[now] if now is not None else before.rules[old[name]]
            yield _Watched(rule, was, now, moves_only=not moved)


class Examples:
    """Looks at documents in batches, and keeps the best few on each side of each rule that changes."""

    def __init__(self, before: CleanParameters, after: CleanParameters, count: int) -> None:
        self._count = count
        self._snapshots: list[str] = []
        self._watched = list(_watched(before, after)) if count else []
        self._found = {
            (each.rule.name, breaks): list[_FoundExample]() for each in self._watched for breaks in (True, False)
        }

    def look_at(self, snapshot: str, disposition: Disposition, place: int, before: Verdicts, after: Verdicts) -> None:
        """A batch of documents of a snapshot, the first of them at that place among those of the disposition."""
        if snapshot not in self._snapshots:
            self._snapshots.append(snapshot)
        kept = before.kept, after.kept
        for each in self._watched:
            values, (was, now) = each.values(before, after), each.broken(before, after)
            distances = np.abs(values - each.rule.threshold)
            ranks = np.where(was == now, 2, np.where(kept[0] == kept[1], 1, 0))
            broken = was if each.after is None else now
            for breaks in (True, False):
                best = self._found[each.rule.name, breaks]
                candidates = (broken == breaks) & (ranks < 2) if each.moves_only else broken == breaks
                rows = self._better(candidates, ranks, distances, best)
                found = [
                    _FoundExample(
                        rank=int(ranks[row]),
                        distance=float(distances[row]),
                        snapshot=len(self._snapshots) - 1,
                        disposition=disposition,
                        place=place + row,
                        value=float(values[row]),
                        kept=(bool(kept[0][row]), bool(kept[1][row])),
                    )
                    for row in rows.tolist()
                ]
                self._found[each.rule.name, breaks] = sorted([*best, *found])[: self._count]

    def _better(
        self,
        candidates: npt.NDArray[np.bool_],
        ranks: npt.NDArray[np.int64],
        distances: npt.NDArray[np.float64],
        best: list[_FoundExample],
    ) -> npt.NDArray[np.int64]:
        """Rows of the candidates that may be among the best: at most as many as are kept."""
        if len(best) == self._count:
            worst = best[-1]
            nearer = (ranks == worst.rank) & (distances < worst.distance)
            candidates = candidates & (nearer | (ranks < worst.rank))
        rows = np.flatnonzero(candidates)
        return rows[np.lexsort((distances[rows], ranks[rows]))[: self._count]]

    def _matters(self, name: str) -> bool:
        return bool(self._found[name, True]) or any(each.rank < 2 for each in self._found[name, False])

    def read(self, snapshots: Mapping[str, SnapshotFiles]) -> Iterator[Example]:
        """The examples by rule, those that break it first; none of a rule that no document breaks, before or after."""
        sides = {key: side for key, side in self._found.items() if self._matters(key[0])}
        found = {each for side in sides.values() for each in side}
        rows = {
            (snapshot, disposition, place): row
            for snapshot, name in enumerate(self._snapshots)
            for disposition in Disposition
            for place, row in _rows(
                snapshots[name],
                disposition,
                sorted({e.place for e in found if (e.snapshot, e.disposition) == (snapshot, disposition)}),
            )
        }
        for (name, breaks), side in sides.items():
            for each in side:
                row = rows[each.snapshot, each.disposition, each.place]
                yield Example(
                    rule=name,
                    breaks=breaks,
                    value=each.value,
                    kept_before=each.kept[0],
                    kept_after=each.kept[1],
                    snapshot=self._snapshots[each.snapshot],
                    file=row["file"],
                    record=row["record"],
                    language=row[LANGUAGE],
                    text=preview(row["text"], _PREVIEW),
                )


def _rows(files: SnapshotFiles, disposition: Disposition, places: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows at these places, with the beginning of the text."""
    if not places:
        return
    batches = files.take(disposition, np.array(places, np.int64), _SHOWN)
    rows = (
        row
        for batch in batches
        for row in batch.set_column(
            batch.schema.get_field_index("text"),
            "text",
            pc.call_function("utf8_slice_codeunits", [batch["text"]], pc.SliceOptions(0, 4 * _PREVIEW)),
        ).to_pylist()
    )
    yield from zip(places, rows, strict=True)
