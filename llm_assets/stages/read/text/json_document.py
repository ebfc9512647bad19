"""JSON files: an array whose elements are the records, one object, or several values one after the other.

Guarantees that every byte but white space, brackets of arrays and commas is in a record or in quarantine, with the
record's number and the byte where it begins, and that memory is bounded by a record. A bad element costs itself alone
as long as its brackets and quotes are closed. Line breaks mean nothing inside a value.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import (
    RAW_LIMIT,
    RECORD_LIMIT,
    BrokenStreamError,
    Quarantined,
    ReadError,
    Record,
    too_long,
)
from llm_assets.stages.read.selection import Selection
from llm_assets.stages.read.text.json_object import read_object

_SPACE = b" \t\r\n"
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
"""The inside of a string, as far as it goes without a backslash that ends the block."""
_BETWEEN_VALUES = re.compile(rb'["{}\[\]\n]')
_BETWEEN_ELEMENTS = re.compile(rb'["{}\[\],]')
_INSIDE = re.compile(rb'["{}\[\]]')


class _Value(NamedTuple):
    """A value: where it begins, its bytes (cut at `RECORD_LIMIT`) and how many there are."""

    offset: int
    data: bytes
    size: int


def read_json(blocks: Iterable[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The records of a decompressed file. A file that ends inside an array or a value has been cut."""
    selection = Selection(parameters)
    scanner = _Scanner()
    number = 0
    broken: BrokenStreamError | None = None
    try:
        for block in blocks:
            for value in scanner.values(block):
                number += 1
                yield _record(number, value, selection)
    except BrokenStreamError as error:
        broken = error
    rest = scanner.taken()
    if broken is None and scanner.is_open:
        broken = BrokenStreamError(ReadError.TRUNCATED_FILE, "the file ends inside an array or a value")
    if broken:
        yield Quarantined.of(number + 1, rest.offset, broken.error, f"after value {number}: {broken.detail}", rest.data)
    elif rest.data:
        yield _record(number + 1, rest, selection)


def _record(number: int, value: _Value, selection: Selection) -> Record:
    if value.size > len(value.data):
        detail = too_long(value.size)
        return Quarantined(number, value.offset, ReadError.TOO_LARGE, detail, value.data[:RAW_LIMIT], value.size)
    return read_object(value.data, number, value.offset, selection)


class _Scanner:
    """Cuts text into values by brackets, quotes and commas alone; whether a value is JSON is for its reader to say."""

    def __init__(self) -> None:
        self._in_array = False
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._is_due = False
        self._offset = 0
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def is_open(self) -> bool:
        """Whether a bracket or a quote is not closed."""
        return self._depth > 0 or self._in_string

    def values(self, block: bytes) -> Iterator[_Value]:
        """The values that end in the next block."""
        place = begin = 0
        while place < len(block):
            if self._in_string:
                place = self._behind_string(block, place)
                continue
            found = self._tokens().search(block, place)
            if found is None:
                break
            place = found.end()
            if self._opens_array(found[0], block[begin : found.start()]):
                self._keep(block[begin:place])
                self._drop()
                begin = place
            elif (end := self._value_end(found)) is not None:
                self._keep(block[begin:end])
                value = self.taken()
                self._keep(block[end:place])
                self._drop()
                begin = place
                is_followed = found[0] == b","
                if value.data or self._is_due or is_followed:
                    yield value
                self._is_due = is_followed
        self._keep(block[begin:])

    def taken(self) -> _Value:
        """The value read so far, without white space around it; then starts a new one."""
        data, size = b"".join(self._parts), self._size
        if self._offset == 0 and data.startswith(codecs.BOM_UTF8):
            data, size, self._offset = data[len(codecs.BOM_UTF8) :], size - len(codecs.BOM_UTF8), len(codecs.BOM_UTF8)
        begun, whole = data.lstrip(_SPACE), data.strip(_SPACE)
        value = _Value(self._offset + len(data) - len(begun), whole, size - len(data) + len(whole))
        self._offset += size
        self._parts, self._size = [], 0
        return value

    def _keep(self, part: bytes) -> None:
        if self._size < RECORD_LIMIT:
            self._parts.append(part)
        self._size += len(part)

    def _drop(self) -> None:
        self._offset += self._size
        self._parts, self._size = [], 0

    def _behind_string(self, block: bytes, place: int) -> int:
        """Where the string ends that goes on at `place`, or the end of the block."""
        if self._is_escaped:
            self._is_escaped = False
            return place + 1
        end = cast("re.Match[bytes]", _STRING.match(block, place)).end()
        if end == len(block):
            return end
        self._in_string = block[end : end + 1] != b'"'
        self._is_escaped = self._in_string  # a backslash, and nothing behind it in this block
        return end + 1

    def _tokens(self) -> re.Pattern[bytes]:
        """The bytes that can change the state."""
        if self._depth > self._in_array:
            return _INSIDE
        return _BETWEEN_ELEMENTS if self._in_array else _BETWEEN_VALUES

    def _opens_array(self, token: bytes, before: bytes) -> bool:
        """Whether the token begins an array of records: with nothing but white space before it."""
        if token != b"[" or self._depth > 0:
            return False
        kept = b"".join(self._parts) + before
        if kept.strip(_SPACE) and not (self._offset == 0 and kept.strip(_SPACE) == codecs.BOM_UTF8):
            return False
        self._in_array, self._depth, self._is_due = True, 1, False
        return True

    def _value_end(self, found: re.Match[bytes]) -> int | None:
        """Where in the block a value ends because of a token; None where none does."""
        token = found[0]
        if token == b'"':
            self._in_string = True
        elif token in b"{[":
            self._depth += 1
        elif token in b",\n":
            return found.start()
        elif self._depth == self._in_array:
            if self._in_array and token == b"]":
                self._in_array, self._depth = False, 0
                return found.start()
        else:
            self._depth -= 1
            return found.end() if self._depth == 0 else None
        return None
