"""One JSON value as a record: its text, id and metadata, or why there is none.

Guarantees that numbers stay exact and that metadata have one form: an object with sorted keys, without spaces.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

import orjson

from llm_assets.stages.read.records import Quarantined, ReadError, Record, document_or_quarantine
from llm_assets.stages.read.selection import Selection, Taken


def read_object(data: bytes, record: int, offset: int, selection: Selection) -> Record:
    """The record that `data`, a JSON text, holds."""

    def quarantined(error: ReadError, detail: str, own_id: str | None = None) -> Quarantined:
        return Quarantined.of(record, offset, error, detail, data, own_id)

    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return quarantined(*_explain(data, error))
    if type(fields) is not dict:
        return quarantined(ReadError.NOT_AN_OBJECT, f"a JSON {_json_type(fields)}")
    try:
        taken, own_id, metadata = _take_apart(data, cast("dict[str, Any]", fields), selection)
    except orjson.JSONEncodeError as error:
        return quarantined(ReadError.MALFORMED_JSON, f"nested too deeply: {error}")
    for name, text in zip(selection.texts, taken.texts, strict=True):
        if text is not None and type(text) is not str:
            return quarantined(ReadError.TEXT_NOT_STRING, f"field {name!r} is a JSON {_json_type(text)}", own_id)
    text = selection.joined(taken.texts)
    if text is None:
        return quarantined(ReadError.MISSING_TEXT, f"{_named(selection.texts)} absent or null", own_id)
    return document_or_quarantine(record, offset, own_id, text, metadata, data)


def _named(names: tuple[str, ...]) -> str:
    return f"field {names[0]!r} is" if len(names) == 1 else f"the fields {', '.join(map(repr, names))} are"


_ROUNDED = re.compile(rb"\de\+")
"""How orjson writes a double of 1e16 or more: what it makes of an integer of more than 64 bits."""


def _take_apart(data: bytes, fields: dict[str, Any], selection: Selection) -> tuple[Taken, str | None, bytes | None]:
    """The parts, the record's own id (as JSON unless a string) and its other fields as a JSON object.

    Integers of any length stay exact. Raises orjson.JSONEncodeError for an id or fields nested deeper than 254 levels.
    """
    taken = selection.take(fields)
    own_id, others = taken.own_id, taken.metadata
    id_json = b"" if own_id is None or type(own_id) is str else orjson.dumps(own_id, option=orjson.OPT_SORT_KEYS)
    metadata = orjson.dumps(others, option=orjson.OPT_SORT_KEYS) if others else None
    if _ROUNDED.search(id_json) or (metadata and _ROUNDED.search(metadata)):
        exact = selection.take(cast("dict[str, Any]", json.loads(data)))
        id_json = _exact_json(exact.own_id)
        metadata = _exact_json(exact.metadata) if others else None
    return taken, own_id if own_id is None or type(own_id) is str else id_json.decode(), metadata


def _exact_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _explain(line: bytes, failure: orjson.JSONDecodeError) -> tuple[ReadError, str]:
    """Why orjson refused a line."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return ReadError.INVALID_UTF8, f"{error.reason} at byte {error.start} of the line"
    mended, surrogates = _replace_lone_surrogates(line)
    if surrogates:
        try:
            orjson.loads(mended)
        except orjson.JSONDecodeError:
            return ReadError.MALFORMED_JSON, str(failure)
        return ReadError.LONE_SURROGATE, f"{surrogates} escaped surrogates without their other half; {failure}"
    return ReadError.MALFORMED_JSON, str(failure)


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""A JSON escape. A surrogate that is no part of a pair is group 1."""


def _replace_lone_surrogates(line: bytes) -> tuple[bytes, int]:
    """The line with U+FFFD in place of each lone surrogate, and how many there were."""
    count = 0

    def mend(escape: re.Match[bytes]) -> bytes:
        nonlocal count
        if escape[1] is None:
            return escape[0]
        count += 1
        return b"\\ufffd"

    return _ESCAPE.sub(mend, line), count


def _json_type(value: object) -> str:
    names: dict[type, str] = {
        dict: "object",
        list: "array",
        str: "string",
        int: "number",
        float: "number",
        bool: "boolean",
    }
    return names.get(type(value), "null")
