"""How far two sides agree on which documents to drop, rule set by rule set. Counted after the runs, never timed.

Reads the verdicts that `ours/cleaning.py` and `peers/datatrove_cleaning.py` write, and says what the latter needs to
know of this project's text.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from llm_assets.kernels.unicode_classes import CODE_POINTS, is_closing, is_symbol, is_terminal

Rows = Sequence[Mapping[str, Any]]
"""Per document: `id`, `verdicts` by rule set, and `c4_text` where C4 keeps it."""


@dataclass(frozen=True)
class Difference:
    """A document that one side keeps and the other does not: what each holds against it."""

    document: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """The agreement of two sides on the same documents, for one rule set. `kept` is how many both keep."""

    rule_set: str
    documents: int
    kept: int
    differences: tuple[Difference, ...]

    @property
    def share(self) -> float:
        """The share of documents that both keep or both drop."""
        return 1 - len(self.differences) / self.documents

    def counted(self) -> list[tuple[str, int]]:
        """How often which rule of which side drops alone: the first rule it names, most frequent first."""
        counts = Counter(
            f"`{difference.theirs[0]}`, theirs alone" if difference.theirs else f"`{difference.ours[0]}`, ours alone"
            for difference in self.differences
        )
        return sorted(counts.items(), key=lambda each: (-each[1], each[0]))

    def sentence(self) -> str:
        """The share, and what accounts for the rest."""
        told = f"`{self.rule_set}` {percent(self.share)} of {self.documents:,} documents"
        return f"{told} ({self.reasons()})" if self.differences else told

    def reasons(self) -> str:
        """The differences counted by their rules, in words."""
        return ", ".join(f"{count:,} {rule}" for rule, count in self.counted())


def marks() -> dict[str, str]:
    """The characters that end a sentence (`terminal`) and those that may follow them (`closing`)."""
    return {"terminal": _characters(is_terminal), "closing": _characters(is_closing)}


def symbols() -> str:
    """The characters of which alone no word is made."""
    return _characters(is_symbol)


def _characters(predicate: Callable[[str], bool]) -> str:
    return "".join(filter(predicate, (chr(code) for code in range(CODE_POINTS) if not 0xD800 <= code < 0xE000)))


def percent(share: float) -> str:
    """In per cent, rounded down to two digits: 100.00 % means every one."""
    return f"{math.floor(share * 10_000 + 1e-9) / 100:.2f} %"


def read_rows(folder: Path, name: str = "verdicts.jsonl") -> list[dict[str, Any]]:
    """The verdicts that a contender wrote, document by document."""
    with (folder / name).open() as lines:
        return [json.loads(line) for line in lines]


def agreements(ours: Rows, theirs: Rows, rule_sets: Iterable[str]) -> list[Agreement]:
    """One for each rule set. Raises ValueError where the documents are not the same, in the same order."""
    if [row["id"] for row in ours] != [row["id"] for row in theirs]:
        raise ValueError(f"{len(ours):,} documents and {len(theirs):,} others cannot be compared")
    return [_agreement(ours, theirs, rule_set) for rule_set in rule_sets]


def _agreement(ours: Rows, theirs: Rows, rule_set: str) -> Agreement:
    differences: list[Difference] = []
    kept = 0
    for mine, other in zip(ours, theirs, strict=True):
        broken, reasons = mine["verdicts"][rule_set], other["verdicts"][rule_set]
        kept += not broken and not reasons
        if bool(broken) != bool(reasons):
            differences.append(Difference(mine["id"], tuple(broken), tuple(reasons)))
    return Agreement(rule_set, len(ours), kept, tuple(differences))


@dataclass(frozen=True)
class WordAgreement:
    """How far two sides split the same documents into the same words.

    `same` documents have the same words, `near` ones as many to within 1 %; of the places where one side or the other
    has a word begin, `share` is of those where both do.
    """

    documents: int
    same: int
    near: int
    share: float


def word_agreement(ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> WordAgreement:
    """Raises ValueError where the documents are not as many."""
    same = near = common = either = 0
    for mine, other in zip(ours, theirs, strict=True):
        starts, others = set(accumulate(map(len, mine))), set(accumulate(map(len, other)))
        same += starts == others
        near += abs(len(mine) - len(other)) <= 0.01 * len(other)
        common += len(starts & others)
        either += len(starts | others)
    return WordAgreement(len(ours), same, near, common / either if either else 1.0)


def same_text(ours: Rows, theirs: Rows) -> tuple[int, int]:
    """Number of documents that both keep with the same text after C4, and number that both keep."""
    pairs = [
        (mine["c4_text"], other["c4_text"])
        for mine, other in zip(ours, theirs, strict=True)
        if "c4_text" in mine and "c4_text" in other
    ]
    return sum(mine == other for mine, other in pairs), len(pairs)
