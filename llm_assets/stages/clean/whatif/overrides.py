"""Other parameters for what is measured already: `gopher_quality.min_words=30`, as a source's YAML would say it.

Guarantees that what comes out differs from the declared parameters only in what judges: the same texts would be
stored, and the same numbers of them. What the difference is worth is told elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from llm_assets.contract.stage import Parameters
from llm_assets.errors import LlmAssetsError
from llm_assets.stages.clean.blocklist.parameters import Blocklist
from llm_assets.stages.clean.custom import Edit
from llm_assets.stages.clean.parameters import CleanParameters, QualityScore
from llm_assets.stages.clean.pii.parameters import Action
from llm_assets.stages.clean.rules import Entry, Range, RuleSet


def _entries() -> Iterator[tuple[str, type[Entry]]]:
    for name, field in CleanParameters.model_fields.items():
        kind = get_args(field.annotation)[0] if get_origin(field.annotation) is tuple else None
        if isinstance(kind, type) and issubclass(kind, Entry):
            yield name, kind


_ENTRIES: Final[Mapping[str, type[Entry]]] = dict(_entries())
"""Fields that hold a list, whose entries a path names: the model of an entry."""

_Value = dict[str, Any]


class OverrideError(LlmAssetsError, ValueError):
    """A setting that is none, has no such value, or would need the partition to be made again."""


def overridden(declared: CleanParameters, settings: Sequence[str]) -> CleanParameters:
    """The parameters with settings `path=value` made in turn; values are YAML.

    A path leads through fields by name, through lists (as `blocklists`) by the name of an entry, through
    `thresholds` by the name of the statistic; `thresholds.<statistic>=null` takes one away. Raises OverrideError.
    """
    value = declared.model_dump()
    paths: list[str] = []
    for setting in settings:
        path, found, text = setting.partition("=")
        if not found or not path:
            raise OverrideError(f"{setting!r} is no setting: write gopher_quality.min_words=30")
        try:
            wanted = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise OverrideError(f"{path}: {text!r} is not YAML: {' '.join(str(error).split())}") from error
        _set(value, path, wanted)
        paths.append(path)
    try:
        changed = CleanParameters.model_validate(value)
    except ValidationError as error:
        raise OverrideError("\n".join(_problems(error, value))) from error
    _require_same_measurements(declared, changed)
    return changed


def _set(value: _Value, path: str, wanted: Any) -> None:
    """Set what a path leads to. Raises OverrideError where it leads nowhere."""
    name, _, rest = path.partition(".")
    if name not in CleanParameters.model_fields:
        raise _nowhere(path, name, "", list(CleanParameters.model_fields))
    if not rest:
        value[name] = wanted
    elif name == "thresholds":
        _set_threshold(value[name], rest, wanted)
    elif name in _ENTRIES:
        _set_entry(value.get(name, ()), path, rest, wanted)
    else:
        _set_field(value, path, wanted)


def _set_field(value: _Value, path: str, wanted: Any) -> None:
    """`gopher_quality.min_words`. A set that was null is switched on by the first of its fields."""
    *outer, last = path.split(".")
    model: type[BaseModel] | None = CleanParameters
    walked = ""
    for name in outer:
        model = _model_at(model, name, path, walked)
        value[name] = {} if value.get(name) is None else value[name]
        value, walked = value[name], f"{walked}{name}."
        _require_fields(path, walked, value)
    if model is None or last not in model.model_fields:
        raise _nowhere(path, last, walked, list(model.model_fields) if model else [])
    value[last] = wanted


def _model_at(model: type[BaseModel] | None, name: str, path: str, walked: str) -> type[BaseModel] | None:
    """The model of a field's value; None where that has no fields."""
    if model is None or name not in model.model_fields:
        raise _nowhere(path, name, walked, list(model.model_fields) if model else [])
    annotation = model.model_fields[name].annotation
    options = (annotation, *get_args(annotation))
    return next((each for each in options if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _set_threshold(thresholds: _Value, rest: str, wanted: Any) -> None:
    """`entropy.min` or `quality.good.max`: statistics have dots in their names, `Range` has two fields."""
    _require_fields(f"thresholds.{rest}", "thresholds.", thresholds)
    statistic, _, bound = rest.rpartition(".")
    if statistic and bound in Range.model_fields:
        threshold = thresholds.setdefault(statistic, {})
        _require_fields(f"thresholds.{rest}", f"thresholds.{statistic}.", threshold)
        threshold[bound] = wanted
    elif wanted is None:
        if thresholds.pop(rest, None) is None:
            there = ", ".join(thresholds) or "none"
            raise OverrideError(f"thresholds.{rest}: there is no such threshold to take away; there are: {there}")
    else:
        thresholds[rest] = wanted


def _set_entry(entries: Any, path: str, rest: str, wanted: Any) -> None:
    """`good.min_score` of the entry called `good`; names may have dots."""
    kind = path.split(".")[0]
    model = _ENTRIES[kind]
    key = model.key
    if not isinstance(entries, list | tuple) or not all(isinstance(each, dict) and key in each for each in entries):
        raise OverrideError(f"{path}: {kind} was set to {entries!r}, which is no list of entries with a {key}")
    for entry in sorted(entries, key=lambda entry: -len(entry[key])):
        if rest.startswith(f"{entry[key]}."):
            field, fields = rest.removeprefix(f"{entry[key]}."), list(dict.fromkeys((*model.model_fields, *entry)))
            if field not in fields:
                raise _nowhere(path, field, f"{kind}.{entry[key]}.", fields)
            entry[field] = wanted
            return
    names = [f"{entry[key]}.<field>" for entry in entries]
    raise OverrideError(
        f"{path}: the source has no such entry of {kind}; there are: {', '.join(names) or 'none'}. A new one has to be"
        " declared, and the partition made again"
    )


def _require_fields(path: str, walked: str, value: Any) -> None:
    """Raises OverrideError where an earlier setting, or none, made a value of what a path leads through."""
    if not isinstance(value, dict):
        raise OverrideError(f"{path}: {walked.removesuffix('.')} is {value!r} and has no fields")


def _nowhere(path: str, name: str, walked: str, fields: Sequence[str]) -> OverrideError:
    if not fields:
        return OverrideError(f"{path}: {walked.removesuffix('.')} is a value and has no fields")
    where = f" in {walked.removesuffix('.')}" if walked else ""
    return OverrideError(f"{path}: there is no field {name!r}{where}; there are: {', '.join(fields)}")


def _problems(error: ValidationError, value: _Value) -> list[str]:
    """A line for each problem, at the path that a setting would have."""
    lines: list[str] = []
    for problem in error.errors():
        path = ".".join(_path(problem["loc"], value))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "there is no such field"
        shown = "" if isinstance(problem["input"], dict) else f" (it is {problem['input']!r})"
        lines.append(f"{path}: {message}{shown}" if path else message)
    return lines


def _path(location: Sequence[str | int], value: _Value) -> list[str]:
    """The location with entries of lists by name, where they have one."""
    parts = [str(part) for part in location]
    if len(parts) > 1 and parts[0] in _ENTRIES:
        entry: Any = value[parts[0]][location[1]]
        key = _ENTRIES[parts[0]].key
        parts[1] = str(entry[key]) if isinstance(entry, dict) and key in entry else parts[1]
    return parts


def _require_same_measurements(declared: CleanParameters, changed: CleanParameters) -> None:
    """Raises OverrideError for what cannot be told from what is stored."""
    fields = [
        name
        for name in CleanParameters.model_fields
        if not all(each in _measured(declared, name) for each in _measured(changed, name))
    ]
    if fields:
        raise OverrideError(
            f"{', '.join(fields)}: this changes the texts or what is measured of them, which nothing stored can tell;"
            " declare it and make the partition again"
        )


def _measured(parameters: CleanParameters, name: str) -> list[object]:
    """The part of a field's value on which texts and numbers depend, without what only affects verdicts.

    Where that is several things, one may be left out: its numbers are stored, and no rule looks at them.
    """
    value = getattr(parameters, name)
    if name in _ENTRIES and not issubclass(_ENTRIES[name], Edit):
        return [_measured_by_entry(each) for each in value]
    if name == "thresholds" or issubclass(_model_at(CleanParameters, name, name, "") or Parameters, RuleSet):
        return []
    if name == "language":
        return [(value.model, value.sample_bytes)] if value else []
    if name == "pii" and value is not None:
        masked, flagged = value.kinds(Action.MASK, Action.DROP), value.kinds(Action.FLAG)
        return [(masked, flagged, value.engine, value.placeholders, value.presidio)]
    return [value]


def _measured_by_entry(entry: Entry) -> object:
    match entry:
        case Blocklist():
            return entry.name, entry.words, entry.domains
        case QualityScore():
            return entry.model
        case _:
            return entry
