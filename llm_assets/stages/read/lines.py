"""JSON Lines: one JSON object a line.

Guarantees one record per line that is not blank, each with its line number and byte offset, at a cost proportional
to the bytes. Knows nothing of compression: it is given blocks.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

import orjson

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import (
    RAW_LIMIT,
    BrokenStreamError,
    Quarantined,
    ReadError,
    Record,
    document_or_quarantine,
)


def read_lines(blocks: Iterable[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The records of a decompressed file. A byte-order mark at its start belongs to no record.

    Where the data breaks off, a last record holds what there is of the line that the break cut, even if that is
    nothing: something is missing there.
    """
    number = offset = 0
    try:
        for line in split_lines(blocks):
            number += 1
            start, offset = offset, offset + len(line) + 1
            if number == 1 and line.startswith(codecs.BOM_UTF8):
                start, line = start + len(codecs.BOM_UTF8), line.removeprefix(codecs.BOM_UTF8)
            if line and not line.isspace():
                yield _read_line(line.removesuffix(b"\r"), number, start, parameters)
    except BrokenStreamError as broken:
        cut = broken.pending
        where = f"inside line {number + 1}" if cut else f"after line {number}" if number else "before the first line"
        detail = f"{where}: {broken.detail}"
        yield Quarantined(number + 1, offset, broken.error, detail, cut[:RAW_LIMIT], len(cut))


def split_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their newline; the last one may lack it. Raises BrokenStreamError with what follows the last
    newline as `pending`, where `blocks` raises it."""
    pending: list[bytes] = []
    try:
        for block in blocks:
            first, *others = block.split(b"\n")
            pending.append(first)
            if others:
                yield b"".join(pending)
                pending = [others.pop()]
                yield from others
    except BrokenStreamError as broken:
        raise BrokenStreamError(broken.error, broken.detail, b"".join(pending)) from broken
    if last := b"".join(pending):
        yield last


def _read_line(line: bytes, number: int, offset: int, parameters: ReadParameters) -> Record:
    def quarantined(error: ReadError, detail: str, own_id: str | None = None) -> Quarantined:
        return Quarantined(number, offset, error, detail, line[:RAW_LIMIT], len(line), own_id=own_id)

    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return quarantined(*_explain(line, error))
    if type(fields) is not dict:
        return quarantined(ReadError.NOT_AN_OBJECT, f"a JSON {_json_type(fields)}")
    try:
        text, own_id, metadata = _take_apart(line, cast("dict[str, Any]", fields), parameters)
    except orjson.JSONEncodeError as error:
        return quarantined(ReadError.MALFORMED_JSON, f"nested too deeply: {error}")
    if type(text) is str:
        return document_or_quarantine(number, offset, own_id, text, metadata, line)
    name = parameters.text_field
    if text is None:
        return quarantined(ReadError.MISSING_TEXT, f"field {name!r} is absent or null", own_id)
    return quarantined(ReadError.TEXT_NOT_STRING, f"field {name!r} is a JSON {_json_type(text)}", own_id)


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


_ROUNDED = re.compile(rb"\de\+")
"""How orjson writes a double of 1e16 or more: what it makes of an integer of more than 64 bits."""


def _take_apart(
    line: bytes, fields: dict[str, Any], parameters: ReadParameters
) -> tuple[object, str | None, bytes | None]:
    """The text, the record's own id (as JSON unless a string) and its other fields as a JSON object with sorted keys.

    Integers of any length stay exact. Raises orjson.JSONEncodeError for an id or fields nested deeper than 254 levels.
    """
    text = fields.pop(parameters.text_field, None)
    own_id = fields.pop(parameters.id_field, None)
    id_json = b"" if own_id is None or type(own_id) is str else orjson.dumps(own_id, option=orjson.OPT_SORT_KEYS)
    metadata = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS) if fields else None
    if _ROUNDED.search(id_json) or (metadata and _ROUNDED.search(metadata)):
        exact = cast("dict[str, Any]", json.loads(line))
        exact.pop(parameters.text_field, None)
        id_json = _exact_json(exact.pop(parameters.id_field, None))
        metadata = _exact_json(exact) if fields else None
    return text, own_id if own_id is None or type(own_id) is str else id_json.decode(), metadata


def _exact_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
