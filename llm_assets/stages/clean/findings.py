"""The columns that cleaning adds to each document: its measurements, and the verdict on them.

Guarantees that a verdict follows from these columns and the parameters alone, so that other parameters can be tried
on a stored table without reading a text. How the columns are computed is the business of the stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.clean.columns import SCORE_TYPE
from llm_assets.stages.clean.judge import Verdicts, judge
from llm_assets.stages.clean.language.language import CONFIDENCE, LANGUAGE, judge_language
from llm_assets.stages.clean.measure.statistics import STATISTICS_TYPE
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.pii.spans import COUNTS_TYPE


def score_column(documents: int, scores: Mapping[str, npt.NDArray[np.float64]]) -> pa.ListArray:
    """The column `scores`, of values [documents] by statistic."""
    names = pa.array(list(scores), pa.large_string())
    values = np.stack(list(scores.values()), axis=1) if scores else np.zeros((documents, 0), np.float64)
    places = np.tile(np.arange(len(scores)), documents)
    structs = pa.StructArray.from_arrays(
        [names.take(pa.array(places)), pa.array(values.reshape(-1), pa.float64())], fields=list(SCORE_TYPE)
    )
    offsets = np.arange(documents + 1, dtype=np.int32) * len(scores)
    return pa.ListArray.from_arrays(pa.array(offsets), structs, type=pa.list_(SCORE_TYPE))


def scores_of(column: pa.ListArray) -> dict[str, npt.NDArray[np.float64]]:
    """The values that `score_column` wrote. Raises ValueError where rows have different scores."""
    flat = column.flatten()
    if not len(flat):
        return {}
    each, rest = divmod(len(flat), len(column))
    names = flat.field("statistic")
    first = names.slice(0, each)
    if rest or column.null_count or names != first.take(pa.array(np.tile(np.arange(each), len(column)))):
        raise ValueError("rows with different scores cannot be judged together")
    values = flat.field("value").to_numpy(zero_copy_only=False).reshape(len(column), each)
    return {name: values[:, place] for place, name in enumerate(first.to_pylist())}


def numbers(findings: pa.RecordBatch) -> pa.StructArray:
    """Every number there is of each document, by the name that rules use: `CleanParameters.numbers`.

    `findings` has the columns of `FINDINGS`, or what was read of them: a column, or a field of a struct, that is not
    there is left out, as is what the source did not look at. Other columns are ignored.
    """
    columns: dict[str, pa.Array] = {}
    if "statistics" in findings.schema.names:
        columns |= _fields(findings["statistics"])
    if CONFIDENCE in findings.schema.names and findings[CONFIDENCE].null_count == 0:
        columns[CONFIDENCE] = findings[CONFIDENCE]
    if "pii" in findings.schema.names and findings["pii"].null_count == 0:
        columns |= {f"pii.{name}": counts for name, counts in _fields(findings["pii"]).items()}
    if "scores" in findings.schema.names:
        columns |= {name: pa.array(values) for name, values in scores_of(findings["scores"]).items()}
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))


def _fields(column: pa.StructArray) -> dict[str, pa.Array]:
    return dict(zip(column.type.names, column.flatten(), strict=True))


def columns_of(statistics: Iterable[str]) -> list[str]:
    """The Parquet columns that hold these of `CleanParameters.numbers`, and the language beside its confidence.

    Raises KeyError for what is no statistic.
    """
    columns: dict[str, None] = {}
    for name in statistics:
        if name in STATISTICS_TYPE.names:
            columns[f"statistics.{name}"] = None
        elif name == CONFIDENCE:
            columns |= dict.fromkeys((LANGUAGE, CONFIDENCE))
        elif name.removeprefix("pii.") in COUNTS_TYPE.names:
            columns[name] = None
        elif "." in name:  # of all others, only the names that a source chooses have a prefix
            columns["scores"] = None
        else:
            raise KeyError(name)
    return list(columns)


def verdicts(findings: pa.RecordBatch, parameters: CleanParameters) -> Verdicts:
    """Judge each document by the rules of the parameters.

    Raises KeyError where a rule needs a number that was not looked at, ValueError for documents without statistics.
    """
    if not len(findings):
        return Verdicts.joined(0, [])
    known = numbers(findings)
    parts: list[Verdicts] = []
    for name, rules in parameters.rule_groups.items():
        if name == "language" and parameters.language is not None and rules:
            languages = pa.StructArray.from_arrays(
                [findings[LANGUAGE], known.field(CONFIDENCE)], [LANGUAGE, CONFIDENCE]
            )
            parts.append(judge_language(languages, parameters.language))
        else:
            parts.append(judge(known, rules))
    return Verdicts.joined(len(findings), parts)
