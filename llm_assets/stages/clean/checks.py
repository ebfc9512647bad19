"""The checks of `<source>/cleaned` that look at its documents together, and at the snapshot before.

Guarantees that each has a limit that a source can set. None of them blocks but that of processing errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from llm_assets.contract.link import Check, Outcome, rate_outcome
from llm_assets.contract.site import Limits
from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.columns import FINDINGS
from llm_assets.stages.clean.measure.profile import Profile, language_shift, outliers, profile, statistics_shifts
from llm_assets.store.documents import SnapshotFiles
from llm_assets.store.ledger import Ledger

PROCESSING_ERRORS: Final = Check(
    "processing_errors", "The share of documents that could not be processed is at most the source's limit."
)
DROP_RATE: Final = Check("drop_rate", "The share of dropped documents is at most the source's limit.", blocking=False)
PII_RATE: Final = Check(
    "pii_rate", "The share of documents that came with PII is at most the source's limit.", blocking=False
)
LANGUAGE_SHIFT: Final = Check("language_shift", "The mix of languages is that of the snapshot before.", blocking=False)
STATISTICS_SHIFT: Final = Check(
    "statistics_shift", "Every statistic is distributed as in the snapshot before.", blocking=False
)
OUTLIERS: Final = Check(
    "outliers", "Few documents lie beyond nearly all of the snapshot before, by any statistic.", blocking=False
)
CHECKS: Final = (PROCESSING_ERRORS, DROP_RATE, PII_RATE, LANGUAGE_SHIFT, STATISTICS_SHIFT, OUTLIERS)

_SHOWN: Final = 5


class CleanLimits(Limits):
    """Rates are shares of documents; shifts are population stability indices."""

    max_processing_error_rate: float = Field(default=0, ge=0, le=1, description="Over it, `cleaned` is not committed.")
    max_drop_rate: float = Field(default=0.5, ge=0, le=1, description="Over it, `cleaned` warns.")
    max_pii_rate: float = Field(default=0.01, ge=0, le=1, description="Documents with PII; over it, `cleaned` warns.")
    max_language_shift: float = Field(
        default=0.25, ge=0, description="Population stability index of the mix of languages; over it, `cleaned` warns."
    )
    max_statistics_shift: float = Field(
        default=0.25, ge=0, description="Population stability index of each statistic; over it, `cleaned` warns."
    )
    max_outlier_rate: float = Field(
        default=0.02, ge=0, le=1, description="Documents beyond 99.8 % of those before; over it, `cleaned` warns."
    )


def cleaned_outcomes(
    ledger: Ledger, files: SnapshotFiles, before: tuple[str, SnapshotFiles] | None, limits: CleanLimits
) -> Iterator[Outcome]:
    """An outcome for each of `CHECKS`. `before` is the name of the snapshot before, and its files."""
    yield _processing_errors(ledger, files, limits.max_processing_error_rate)
    incoming = ledger.incoming.documents
    dropped = ledger.dropped_total.documents
    yield rate_outcome(DROP_RATE.name, dropped, incoming, limits.max_drop_rate, "of the documents were dropped")
    now = _profile(files)
    yield rate_outcome(PII_RATE.name, now.with_pii, incoming, limits.max_pii_rate, "of the documents came with PII")
    earlier = _profile(before[1]) if before else None
    if before is None or earlier is None or not earlier.documents or not now.documents:
        for check in (LANGUAGE_SHIFT, STATISTICS_SHIFT, OUTLIERS):
            yield Outcome(check.name, True, "there is no snapshot before to compare with")
        return
    yield _language_shift(before[0], earlier, now, limits.max_language_shift)
    yield _statistics_shift(before[0], earlier, now, limits.max_statistics_shift)
    yield _outliers(before[0], earlier, now, limits.max_outlier_rate)


def _profile(files: SnapshotFiles) -> Profile:
    dispositions = (Disposition.KEPT, Disposition.REJECTED)
    names = [each.name for each in FINDINGS]
    documents = sum(files.count(disposition) for disposition in dispositions)
    return profile((batch for each in dispositions for batch in files.batches(each, names)), documents)


def _processing_errors(ledger: Ledger, files: SnapshotFiles, limit: float) -> Outcome:
    failed, incoming = ledger.quarantined_total.documents, ledger.incoming.documents
    outcome = rate_outcome(PROCESSING_ERRORS.name, failed, incoming, limit, "of the documents could not be processed")
    first = next(files.batches(Disposition.QUARANTINED, ["file", "record", "error"]), None)
    if first is None:
        return outcome
    row = first.slice(0, 1).to_pylist()[0]
    message = f"{outcome.message}; the first is {row['file']}, record {row['record']}: {row['error']}"
    return Outcome(outcome.check, outcome.passed, message, outcome.details)


def _language_shift(name: str, before: Profile, now: Profile, limit: float) -> Outcome:
    shift = language_shift(before, now)
    message = f"population stability index {shift.index:.3f} against {name}; the limit is {limit:.3f}"
    if shift.index > limit and not shift.over(limit):
        message += f", but so few documents shift by up to {shift.chance:.3f} by chance"
    return Outcome(LANGUAGE_SHIFT.name, not shift.over(limit), message, {"index": shift.index, "limit": limit})


def _statistics_shift(name: str, before: Profile, now: Profile, limit: float) -> Outcome:
    shifts = statistics_shifts(before, now)
    over = [each for each, shift in shifts.items() if shift.over(limit)]
    largest = sorted(shifts, key=lambda each: -shifts[each].index)[:_SHOWN]
    listed = ", ".join(f"{each} {shifts[each].index:.3f}" for each in largest)
    message = f"{len(over)} of {len(shifts)} shifted by more than {limit:.3f} against {name}; the largest: {listed}"
    return Outcome(STATISTICS_SHIFT.name, not over, message, {"shifted": len(over), "limit": limit})


def _outliers(name: str, before: Profile, now: Profile, limit: float) -> Outcome:
    found = outliers(before, now)
    over = [each for each, outside in found.items() if outside.over(limit)]
    largest = sorted(found, key=lambda each: -found[each].rate)[:_SHOWN]
    listed = ", ".join(f"{each} {found[each].rate:.2%}" for each in largest)
    message = f"beyond 99.8 % of {name}: {listed}; the limit is {limit:.2%}"
    return Outcome(OUTLIERS.name, not over, message, {"statistics": len(over), "limit": limit})
