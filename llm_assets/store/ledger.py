"""The ledger: what came into a stage, and where every document and token of it went.

Guarantees that a balanced entry means `incoming = kept + every dropped reason + every quarantined error`, in
documents, bytes and tokens. It records; whether an imbalance blocks a commit is the checks' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Count:
    """An amount of data: documents (or rows), UTF-8 bytes, and tokens (0 before tokenization)."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.documents + other.documents, self.bytes + other.bytes, self.tokens + other.tokens)

    def __mul__(self, times: int) -> Count:
        return Count(self.documents * times, self.bytes * times, self.tokens * times)

    def as_dict(self) -> dict[str, int]:
        """The three amounts by name."""
        return {"documents": self.documents, "bytes": self.bytes, "tokens": self.tokens}


Counts = Mapping[str, Count]


def _merge(left: Counts, right: Counts) -> dict[str, Count]:
    return {key: left.get(key, Count()) + right.get(key, Count()) for key in sorted({*left, *right})}


@dataclass(frozen=True)
class Ledger:
    """Where everything that came into a stage went.

    `incoming`, `kept`, `dropped` and `quarantined` are all measured in what came in, so they must add up.
    `output` is measured in what went out (a cleaned text may be shorter than its raw one), so that the
    `incoming` of the next stage can be compared with it. `edits` counts changes that dropped nothing.
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
        """All that was dropped, whatever the reason."""
        return sum(self.dropped.values(), Count())

    @property
    def quarantined_total(self) -> Count:
        """All that could not be read, whatever the error."""
        return sum(self.quarantined.values(), Count())

    @property
    def accounted(self) -> Count:
        """What `incoming` must equal."""
        return self.kept + self.dropped_total + self.quarantined_total

    def as_dict(self) -> dict[str, Any]:
        """A JSON form; `from_dict` reads it back."""

        def by_name(counts: Counts) -> dict[str, dict[str, int]]:
            return {name: counts[name].as_dict() for name in sorted(counts)}

        return {
            "incoming": self.incoming.as_dict(),
            "kept": self.kept.as_dict(),
            "output": self.output.as_dict(),
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
