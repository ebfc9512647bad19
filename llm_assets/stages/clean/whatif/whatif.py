"""Compares the verdicts of other parameters on the documents that cleaning has stored.

Guarantees what cleaning again with them would give, as far as they only judge otherwise: from the stored numbers that
the rules need, without a text but those of the examples, in memory bounded by a batch. Which parameters those may be
is decided in `stages.clean.overrides`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.contract.stage import Disposition
from llm_assets.errors import LlmAssetsError
from llm_assets.stages.clean.findings import columns_of, verdicts
from llm_assets.stages.clean.judge import Verdicts
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.rules import Rule
from llm_assets.stages.clean.stage import CleanStage
from llm_assets.stages.clean.whatif.examples import Example, Examples
from llm_assets.store.documents import CommittedSnapshot
from llm_assets.store.ledger import Count

EXAMPLES: Final = 3
_JUDGED: Final = (Disposition.KEPT, Disposition.REJECTED)
_SIZE: Final = "bytes"
_NO_RULE: Final = -1
_A_RULE: Final = slice(0, -1)
_ANY: Final = slice(None)


class CannotTellError(LlmAssetsError, RuntimeError):
    """A snapshot that lacks what the rules look at: says which, and what to do."""


@dataclass(frozen=True)
class RuleChange:
    """The effect of a rule before and after the change; None where it is switched off.

    A document counts where the rule is the first that it breaks: `newly_kept` are those dropped by the rule before and
    by none after, `newly_dropped` those dropped by none before and by the rule after.
    """

    name: str
    before: Rule | None
    after: Rule | None
    dropped_before: Count
    dropped_after: Count
    newly_kept: Count
    newly_dropped: Count


@dataclass(frozen=True)
class OtherwiseStored:
    """A snapshot that was not made with the declared parameters as they are now.

    `documents` are stored with another disposition than these give; `rules` dropped another number than these would.
    """

    snapshot: str
    documents: int
    rules: tuple[str, ...]


@dataclass(frozen=True)
class WhatIf:
    """The documents of some snapshots, judged by the declared parameters and by others.

    Bytes are those of the text as cleaning left it. `rules` has every rule of either, in the order in which they
    count; what `language.allow` allows are `languages_…`, None for all. Quarantined documents are told, and nowhere
    else counted.
    """

    snapshots: tuple[str, ...]
    judged: Count
    quarantined: int
    kept_before: Count
    kept_after: Count
    newly_kept: Count
    newly_dropped: Count
    rules: tuple[RuleChange, ...]
    languages_before: tuple[str, ...] | None
    languages_after: tuple[str, ...] | None
    examples: tuple[Example, ...]
    stored_otherwise: tuple[OtherwiseStored, ...]


def what_if(
    snapshots: Mapping[str, CommittedSnapshot],
    declared: CleanParameters,
    changed: CleanParameters,
    examples: int = EXAMPLES,
) -> WhatIf:
    """Judge committed snapshots, by name, with both. `examples` is how many are shown on a side of each changed rule.

    Raises CannotTellError.
    """
    tallies = {name: _Tally.empty(len(declared.rules), len(changed.rules)) for name in snapshots}
    shown = Examples(declared, changed, examples)
    for name, snapshot in snapshots.items():
        _require_same_version(snapshot, declared)
        for disposition, place, batch in _batches(snapshot, (*declared.rules, *changed.rules)):
            before, after = (_judged(snapshot, batch, parameters) for parameters in (declared, changed))
            sizes = batch["statistics"].field(_SIZE).to_numpy(zero_copy_only=False)
            tallies[name].add(_first_broken(before), _first_broken(after), sizes, disposition)
            shown.look_at(name, disposition, place, before, after)
    total = sum(tallies.values(), _Tally.empty(len(declared.rules), len(changed.rules)))
    return WhatIf(
        snapshots=tuple(snapshots),
        judged=total.count(),
        quarantined=sum(each.count(Disposition.QUARANTINED) for each in snapshots.values()),
        kept_before=total.count(before=_NO_RULE),
        kept_after=total.count(after=_NO_RULE),
        newly_kept=total.count(_A_RULE, _NO_RULE),
        newly_dropped=total.count(_NO_RULE, _A_RULE),
        rules=tuple(_rule_changes(declared.rules, changed.rules, total)),
        languages_before=declared.language.allow if declared.language else None,
        languages_after=changed.language.allow if changed.language else None,
        examples=tuple(shown.read(snapshots)),
        stored_otherwise=tuple(_stored_otherwise(snapshots, declared, tallies)),
    )


def _require_same_version(snapshot: CommittedSnapshot, declared: CleanParameters) -> None:
    """That of the code and of Unicode: by another, other numbers would have been stored."""
    made, now = (
        version.split("-")[:2] for version in (snapshot.manifest.code_version, CleanStage(declared).code_version)
    )
    if made != now:
        raise CannotTellError(
            f"{snapshot.manifest.name} was made by version {'-'.join(made)} of cleaning, and this is {'-'.join(now)}:"
            " make it again"
        )


def _batches(snapshot: CommittedSnapshot, rules: Sequence[Rule]) -> Iterator[tuple[Disposition, int, pa.RecordBatch]]:
    """The statistics that the rules use, with the disposition of a batch and the number of its first row."""
    columns = columns_of([_SIZE, *(rule.statistic for rule in rules)])
    for disposition in _JUDGED:
        place = 0
        for batch in snapshot.batches(disposition, columns):
            if len(batch):
                yield disposition, place, batch
            place += len(batch)


def _judged(snapshot: CommittedSnapshot, batch: pa.RecordBatch, parameters: CleanParameters) -> Verdicts:
    try:
        return verdicts(batch, parameters)
    except KeyError as error:
        raise CannotTellError(
            f"{snapshot.manifest.name} was made without {error}, which a rule looks at: make it again"
        ) from error


def _first_broken(judged: Verdicts) -> npt.NDArray[np.int64]:
    """The number of the first rule that each document breaks; the number of rules for a kept one."""
    always = np.ones((len(judged.broken), 1), np.bool_)
    return np.argmax(np.concatenate([judged.broken, always], axis=1), axis=1)


@dataclass
class _Tally:
    """Documents and bytes by the first broken rule before and after: int64[rules + 1, rules + 1], the last for none.

    `moved` counts the documents that are stored with another disposition than the first parameters give.
    """

    documents: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    moved: int

    @classmethod
    def empty(cls, before: int, after: int) -> _Tally:
        shape = before + 1, after + 1
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64), 0)

    def add(
        self,
        before: npt.NDArray[np.int64],
        after: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        disposition: Disposition,
    ) -> None:
        cells = before * self.documents.shape[1] + after
        self.documents += np.bincount(cells, minlength=self.documents.size).reshape(self.documents.shape)
        # Exact: a batch has less than 2^53 bytes.
        added = np.bincount(cells, weights=sizes, minlength=self.documents.size)
        self.sizes += added.astype(np.int64).reshape(self.sizes.shape)
        kept = before == len(self.documents) - 1
        self.moved += int(np.count_nonzero(kept != (disposition is Disposition.KEPT)))

    def __add__(self, other: _Tally) -> _Tally:
        return _Tally(self.documents + other.documents, self.sizes + other.sizes, self.moved + other.moved)

    def count(self, before: int | slice = _ANY, after: int | slice = _ANY) -> Count:
        """The documents dropped before and after by the rules of these numbers."""
        return Count(int(self.documents[before, after].sum()), int(self.sizes[before, after].sum()))


def _rule_changes(before: Sequence[Rule], after: Sequence[Rule], total: _Tally) -> Iterator[RuleChange]:
    old, new = ({rule.name: number for number, rule in enumerate(rules)} for rules in (before, after))
    for name in _in_order(list(old), list(new)):
        was, now = old.get(name), new.get(name)
        yield RuleChange(
            name=name,
            before=None if was is None else before[was],
            after=None if now is None else after[now],
            dropped_before=Count() if was is None else total.count(before=was),
            dropped_after=Count() if now is None else total.count(after=now),
            newly_kept=Count() if was is None else total.count(was, _NO_RULE),
            newly_dropped=Count() if now is None else total.count(_NO_RULE, now),
        )


def _in_order(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The names of both, each behind the one that it is behind in its own list."""
    names = list(after)
    for place, name in enumerate(before):
        if name not in names:
            names.insert(names.index(before[place - 1]) + 1 if place else 0, name)
    return names


def _stored_otherwise(
    snapshots: Mapping[str, CommittedSnapshot], declared: CleanParameters, tallies: Mapping[str, _Tally]
) -> Iterator[OtherwiseStored]:
    now = CleanStage(declared).code_version
    for name, snapshot in snapshots.items():
        stored = {rule: count.documents for rule, count in snapshot.manifest.ledger.dropped.items()}
        recomputed = {
            rule.name: tallies[name].count(before=number).documents for number, rule in enumerate(declared.rules)
        }
        differ = tuple(
            rule for rule in dict.fromkeys((*recomputed, *stored)) if stored.get(rule, 0) != recomputed.get(rule, 0)
        )
        if differ or tallies[name].moved or snapshot.manifest.code_version != now:
            yield OtherwiseStored(name, tallies[name].moved, differ)
