"""The ledger: what came into a stage, and where every document, row, byte and token of it went.

Guarantees that a balanced ledger means `incoming = kept + every dropped reason + every quarantined error`, in each
unit. It only records: the checks decide whether an imbalance blocks a commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

UNITS = ("documents", "rows", "bytes", "tokens")


@dataclass(frozen=True)
class Count:
    """An amount of data in four units; a unit that does not apply is 0.

    `documents` count from `raw` to `packed`, `rows` (of packed tokens) from `packed` on. `bytes` are those of UTF-8
    text, or of token ids; `tokens` are 0 before tokenization.
    """

    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    rows: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.documents + other.documents,
            self.bytes + other.bytes,
            self.tokens + other.tokens,
            self.rows + other.rows,
        )

    def __mul__(self, times: int) -> Count:
        return Count(self.documents * times, self.bytes * times, self.tokens * times, self.rows * times)

    def as_dict(self, units: Sequence[str] = UNITS) -> dict[str, int]:
        """The amounts by unit."""
        return {unit: self.amount(unit) for unit in units}

    def amount(self, unit: str) -> int:
        """The amount in one of `UNITS`."""
        return int(getattr(self, unit))


Counts = Mapping[str, Count]


def _merge(left: Counts, right: Counts) -> dict[str, Count]:
    return {key: left.get(key, Count()) + right.get(key, Count()) for key in sorted({*left, *right})}


@dataclass(frozen=True)
class Ledger:
    """Where everything that came into a stage went.

    `incoming`, `kept`, `dropped` and `quarantined` all measure the input, so they must add up. `output` measures the
    result (a cleaned text may be shorter than its raw one, and documents become rows), so that the `incoming` of the
    next stage can be compared with it. `edits` counts changes that dropped nothing.
    """

    incoming: Count = Count()
    kept: Count = Count()
    output: Count = Count()
    dropped: Counts = field(default_factory=dict[str, Count])
    quarantined: Counts = field(default_factory=dict[str, Count])
    edits: Counts = field(default_factory=dict[str, Count])

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(
            incoming=self.incoming + other.incoming,
            kept=self.kept + other.kept,
            output=self.output + other.output,
            dropped=_merge(self.dropped, other.dropped),
            quarantined=_merge(self.quarantined, other.quarantined),
            edits=_merge(self.edits, other.edits),
        )

    @property
    def dropped_total(self) -> Count:
        """The sum over all reasons for dropping."""
        return sum(self.dropped.values(), Count())

    @property
    def quarantined_total(self) -> Count:
        """The sum over all errors of reading."""
        return sum(self.quarantined.values(), Count())

    @property
    def accounted(self) -> Count:
        """Kept, dropped and quarantined together: equal to `incoming` where the ledger balances."""
        return self.kept + self.dropped_total + self.quarantined_total

    def share(self, part: Count) -> float | None:
        """A part of what came in as a share of it, from 0 to 1, in `unit`; None where nothing came in."""
        whole = self.incoming.amount(self.unit)
        return part.amount(self.unit) / whole if whole else None

    @property
    def unit(self) -> str:
        """The unit in which the input is counted: "rows" for a mixture and reports on it, else "documents"."""
        return "rows" if self.incoming.rows else "documents"

    @property
    def units(self) -> tuple[str, ...]:
        """The units that apply to this ledger, in the order of `UNITS`; documents and bytes where it is empty."""
        counted = {unit for unit in UNITS for count in self._counts() if count.amount(unit)}
        return tuple(unit for unit in UNITS if unit in (counted or {"documents", "bytes"}))

    def _counts(self) -> Iterator[Count]:
        yield from (self.incoming, self.kept, self.output)
        for counts in (self.dropped, self.quarantined, self.edits):
            yield from counts.values()

    def as_dict(self) -> dict[str, Any]:
        """A JSON form, with the units that apply; `from_dict` reads it back."""
        units = self.units

        def by_name(counts: Counts) -> dict[str, dict[str, int]]:
            return {name: counts[name].as_dict(units) for name in sorted(counts)}

        return {
            "incoming": self.incoming.as_dict(units),
            "kept": self.kept.as_dict(units),
            "output": self.output.as_dict(units),
            "dropped": by_name(self.dropped),
            "quarantined": by_name(self.quarantined),
            "edits": by_name(self.edits),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The ledger that `as_dict` wrote."""

        def by_name(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Count]:
            return {name: Count(**count) for name, count in counts.items()}

        return cls(
            incoming=Count(**data["incoming"]),
            kept=Count(**data["kept"]),
            output=Count(**data["output"]),
            dropped=by_name(data["dropped"]),
            quarantined=by_name(data["quarantined"]),
            edits=by_name(data["edits"]),
        )
