"""The page of a cleaned snapshot: distributions beside the thresholds, languages, PII, and examples.

Guarantees memory bounded by a batch, whatever the number of documents: numbers are read twice, for their span and
then for their bins, and no text but that of the examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llm_assets.contract.histograms import Histogram, ValueRange
from llm_assets.contract.link import Description
from llm_assets.contract.samples import SAMPLE_ROWS, sample_rows
from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.columns import CLEANED_SCHEMA
from llm_assets.stages.clean.findings import columns_of, numbers
from llm_assets.stages.clean.language.language import LANGUAGE
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.rules import Rule
from llm_assets.store.documents import SnapshotFiles
from llm_assets.store.ledger import Ledger

HISTOGRAMS: Final = 8
LANGUAGES: Final = 10
_LENGTH: Final = "words"
_SHOWN: Final = (Disposition.KEPT, Disposition.REJECTED)


def describe_cleaned(files: SnapshotFiles, size: int, ledger: Ledger, parameters: CleanParameters) -> Description:
    """The description of a snapshot of that many bytes, made with these parameters."""
    statistics = _most_telling(parameters.rules, ledger) or (_LENGTH,)
    found = _look(files, statistics, parameters)
    tables = {"languages": found.language_rows(), "pii": found.pii_rows(parameters)}
    return Description(
        rows=ledger.kept.documents,
        bytes=size,
        columns=CLEANED_SCHEMA,
        worked_bytes=ledger.incoming.bytes,
        values={
            "kept_fraction": ledger.share(ledger.kept),
            "drop_rate": ledger.share(ledger.dropped_total),
            "quarantine_rate": ledger.share(ledger.quarantined_total),
        },
        histograms=_histograms(files, found.spans, parameters.rules),
        samples={
            "kept": _examples(files, Disposition.KEPT, ["file", "record", "text"]),
            "dropped": _examples(files, Disposition.REJECTED, ["file", "record", "reasons", "text"]),
        },
        tables={name: rows for name, rows in tables.items() if rows},
        reasons=tuple(rule.name for rule in parameters.rules),
    )


def _most_telling(rules: Sequence[Rule], ledger: Ledger) -> tuple[str, ...]:
    """The statistics whose rules dropped most, at most `HISTOGRAMS`; of equals those whose rules come first."""
    dropped: Counter[str] = Counter()
    for rule in rules:
        dropped[rule.statistic] += ledger.dropped[rule.name].documents if rule.name in ledger.dropped else 0
    return tuple(name for name, _ in dropped.most_common(HISTOGRAMS))


@dataclass
class _Totals:
    """Totals of all documents: the range of each statistic; by disposition, languages and PII (documents, spans)."""

    spans: dict[str, ValueRange]
    languages: dict[str, Counter[str]] = field(default_factory=lambda: {each: Counter() for each in _SHOWN})
    pii: dict[str, Counter[str]] = field(default_factory=lambda: {each: Counter() for each in (*_SHOWN, "spans")})

    def language_rows(self) -> list[Mapping[str, str | int]]:
        """The most frequent languages, and the others together."""
        kept, rejected = (self.languages[each] for each in _SHOWN)
        by_size = sorted({*kept, *rejected}, key=lambda name: (-kept[name] - rejected[name], name))
        rows: list[Mapping[str, str | int]] = [
            {"language": name, "kept": kept[name], "rejected": rejected[name]} for name in by_size[:LANGUAGES]
        ]
        rest = by_size[LANGUAGES:]
        if rest:
            others = (sum(counts[name] for name in rest) for counts in (kept, rejected))
            rows.append(dict(zip(("language", *_SHOWN), (f"{len(rest)} others", *others), strict=True)))
        return rows

    def pii_rows(self, parameters: CleanParameters) -> list[Mapping[str, str | int]]:
        """Each kind that is looked for: what becomes of it, documents with it, spans."""
        kinds = parameters.pii.kinds() if parameters.pii else ()
        return [
            {
                "kind": kind.value,
                "action": str(parameters.pii.action(kind)) if parameters.pii else "",
                **{f"{each} documents": self.pii[each][kind.value] for each in _SHOWN},
                "spans": self.pii["spans"][kind.value],
            }
            for kind in kinds
        ]


def _look(files: SnapshotFiles, statistics: Sequence[str], parameters: CleanParameters) -> _Totals:
    """The first pass."""
    found = _Totals({name: ValueRange() for name in statistics})
    kinds = [kind.value for kind in parameters.pii.kinds()] if parameters.pii else []
    columns = dict.fromkeys((LANGUAGE, *columns_of(statistics), *(f"pii.{kind}" for kind in kinds)))
    for disposition in _SHOWN:
        for batch in files.batches(disposition, list(columns)):
            for name, values in _values(batch, statistics):
                found.spans[name] = found.spans[name].including(values)
            found.languages[disposition].update(_counted(batch[LANGUAGE]))
            for kind in kinds:
                spans = batch["pii"].field(kind).to_numpy(zero_copy_only=False)
                found.pii[disposition][kind] += int(np.count_nonzero(spans))
                found.pii["spans"][kind] += int(spans.sum())
    return found


def _values(batch: pa.RecordBatch, statistics: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if len(batch):
        known = numbers(batch)
        for name in statistics:
            yield name, known.field(name).to_numpy(zero_copy_only=False)


def _counted(languages: pa.LargeStringArray) -> dict[str, int]:
    counted = pc.call_function("value_counts", [languages.drop_null()])
    return {row["values"]: row["counts"] for row in counted.to_pylist()}


def _histograms(files: SnapshotFiles, spans: Mapping[str, ValueRange], rules: Sequence[Rule]) -> dict[str, Histogram]:
    """The second pass. The thresholds of all rules that look at a statistic are its marks."""
    histograms = {
        name: Histogram.empty(span, [each.value for each in _SHOWN], _marks(name, rules))
        for name, span in spans.items()
    }
    for disposition in _SHOWN:
        for batch in files.batches(disposition, columns_of(spans)):
            for name, values in _values(batch, list(spans)):
                histograms[name].add(disposition.value, values)
    return {f"Documents by {name}": histogram for name, histogram in histograms.items()}


def _marks(statistic: str, rules: Sequence[Rule]) -> dict[str, float]:
    return {
        f"{rule.name}, {rule.bound} {rule.threshold:,.6g}": rule.threshold
        for rule in rules
        if rule.statistic == statistic and rule.name != "language.allow"
    }


def _examples(files: SnapshotFiles, disposition: Disposition, columns: Sequence[str]) -> list[Mapping[str, str]]:
    """Some documents, spread over all."""
    documents = files.count(disposition)
    places = np.unique(np.linspace(0, documents - 1, min(documents, SAMPLE_ROWS)).astype(np.int64))
    return [row for batch in files.take(disposition, places, columns) for row in sample_rows(_readable(batch))]


def _readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its reasons as a person writes them."""
    if "reasons" not in batch.schema.names:
        return batch
    shown = [
        "; ".join(f"{each['rule']}: {each['value']:,.6g} (threshold {each['threshold']:,.6g})" for each in reasons)
        for reasons in batch["reasons"].to_pylist()
    ]
    return batch.set_column(batch.schema.get_field_index("reasons"), "reasons", pa.array(shown, pa.large_string()))
