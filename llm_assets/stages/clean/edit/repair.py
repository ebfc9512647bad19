"""Repairs of a text column that leave its meaning alone: line breaks, characters that nobody sees, wrong decoding.

Guarantees that each repair does only what its field of `Repairs` says, that texts in need of none are not copied, and
that what was repaired is counted, kind by kind. Unicode's own forms are `normalise`'s business.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final

import ftfy
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from ftfy.chardata import CHARMAP_ENCODINGS

from llm_assets.kernels.arrow import byte_lengths
from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.unicode_classes import CODE_POINTS, LINE_BREAKS
from llm_assets.kernels.utf8 import decode
from llm_assets.stages.clean.edit.parameters import Repairs
from llm_assets.stages.clean.texts import text_buffers, texts_from
from llm_assets.store.ledger import Count

ZERO_WIDTH: Final = "\u00ad\u200b\u2060\ufeff"
"""Soft hyphen, zero-width space, word joiner, byte-order mark. The zero-width joiners are none: they carry meaning."""

_Bytes = npt.NDArray[np.uint8]
_Offsets = npt.NDArray[np.int64]

_KEEP, _TO_LINE_FEED, _DROP_CONTROL, _DROP_ZERO_WIDTH = range(4)
_KINDS: Final = ("", "repair.line_breaks", "repair.control_characters", "repair.zero_width")
_LINE_FEED, _CARRIAGE_RETURN, _SPACE, _SUBSTITUTE = 0x0A, 0x0D, 0x20, 0x1A
_A_CIRCUMFLEX, _A_TILDE, _REPLACEMENT = 0xC2, 0xC3, 0xFFFD


def repair(texts: pa.LargeStringArray, repairs: Repairs) -> tuple[pa.LargeStringArray, dict[str, Count]]:
    """The column repaired, row for row, and of each kind the documents repaired and the bytes by which they changed.

    Kinds are named `repair.<field of Repairs>`. Raises as `text_buffers` does, and UnicodeDecodeError on bad UTF-8.
    """
    edits: dict[str, Count] = {}
    if repairs.mojibake:
        texts, edits = _repair_mojibake(texts)
    actions = _actions(repairs.line_breaks, repairs.control_characters, repairs.zero_width)
    if not actions.any():
        return texts, edits
    offsets, data = text_buffers(texts)
    if not _any_action(data[offsets[0] : offsets[-1]], actions):
        return texts, edits
    new_offsets, new_data, documents, removed = _apply(offsets, data, actions)
    edits |= {
        _KINDS[kind]: Count(int(documents[kind]), int(removed[kind]))
        for kind in range(1, len(_KINDS))
        if documents[kind]
    }
    return texts_from(new_offsets, new_data), edits


@cache
def _actions(line_breaks: bool, control_characters: bool, zero_width: bool) -> _Bytes:
    """The action for each code point: uint8[0x110000], read-only."""
    table = np.full(CODE_POINTS, _KEEP, np.uint8)
    breaks = [ord(each) for each in LINE_BREAKS]
    if control_characters:
        table[[code for code in range(0x100) if unicodedata.category(chr(code)) == "Cc"]] = _DROP_CONTROL
        table[[ord("\t"), *breaks]] = _KEEP
    if line_breaks:
        table[[code for code in breaks if code != _LINE_FEED]] = _TO_LINE_FEED
    if zero_width:
        table[[ord(each) for each in ZERO_WIDTH]] = _DROP_ZERO_WIDTH
    table.flags.writeable = False
    return table


@kernel
def _any_action(data: _Bytes, actions: _Bytes) -> bool:
    position = 0
    while position < len(data):
        code, size = decode(data, position, len(data))
        if actions[code]:
            return True
        position += size
    return False


@kernel
def _apply(
    offsets: _Offsets, data: _Bytes, actions: _Bytes
) -> tuple[_Offsets, _Bytes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """New offsets and bytes, and for each kind of action the documents it changed and the bytes it removed."""
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    bounds = np.zeros(len(offsets), np.int64)
    documents, removed = np.zeros(4, np.int64), np.zeros(4, np.int64)
    end = 0
    for document in range(len(offsets) - 1):
        text = data[offsets[document] : offsets[document + 1]]
        changed = np.uint8(0)
        position = 0
        while position < len(text):
            code, size = decode(text, position, len(text))
            action = actions[code]
            if action == _KEEP:
                for _ in range(size):
                    out[end] = text[position]
                    end += 1
                    position += 1
                continue
            position += size
            if action == _TO_LINE_FEED:
                if code == _CARRIAGE_RETURN and position < len(text) and text[position] == _LINE_FEED:
                    size += 1
                    position += 1
                out[end] = _LINE_FEED
                end += 1
                size -= 1
            changed |= np.uint8(1) << action
            removed[action] += size
        bounds[document + 1] = end
        for action in range(4):
            documents[action] += changed >> action & 1
    return bounds, out[:end].copy(), documents, removed


def _repair_mojibake(texts: pa.LargeStringArray) -> tuple[pa.LargeStringArray, dict[str, Count]]:
    offsets, data = text_buffers(texts)
    changed = np.zeros(len(texts), np.bool_)
    replacements: list[str] = []
    for document in np.flatnonzero(suspects(offsets, data)).tolist():
        text = str(data[offsets[document] : offsets[document + 1]].data, "utf-8")
        repaired = repair_text(text)
        if repaired != text:
            changed[document] = True
            replacements.append(repaired)
    if not replacements:
        return texts, {}
    result = pc.call_function(
        "replace_with_mask", [texts, pa.array(changed), pa.array(replacements, pa.large_string())]
    )
    difference = int(np.abs(byte_lengths(result) - np.diff(offsets)).sum())
    return result, {"repair.mojibake": Count(len(replacements), difference)}


_PIECE: Final = 2000  # characters: so that ftfy, the slow part, looks at little more than what is suspect
_CAUTIOUS: Final = ftfy.TextFixerConfig(fix_c1_controls=False)


def repair_text(text: str) -> str:
    """The text with each suspect piece that ftfy takes for wrongly decoded UTF-8 decoded rightly.

    A piece is a line or, of a long one, a part that ends with a space. Control characters from U+0080 on prove no wrong
    decoding alone: they count only in pieces with other signs of it.
    """
    pieces = list(_pieces(text))
    for number in np.flatnonzero(suspects(*text_buffers(pa.array(pieces, pa.large_string())))).tolist():
        if ftfy.fix_encoding(pieces[number], _CAUTIOUS) != pieces[number]:
            pieces[number] = ftfy.fix_encoding(pieces[number])
    return "".join(pieces)[:-1]  # the line feed behind the last line is not the text's


def _pieces(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        start = 0
        while (space := line.find(" ", start + _PIECE)) >= 0:
            yield line[start : space + 1]
            start = space + 1
        yield line[start:] + "\n"


def suspects(offsets: _Offsets, data: _Bytes) -> npt.NDArray[np.bool_]:
    """Which documents may hold UTF-8 decoded as something else: bool[documents]. Few others do, in any language.

    A suspect has characters in a row that some encoding, of those that ftfy knows, writes with the bytes of a
    character in UTF-8, or a capital A with tilde or circumflex before a space, which was a no-break space then.
    """
    return _suspects(offsets, data, _roles())


_ENCODINGS: Final = len(CHARMAP_ENCODINGS)
_EVERY: Final = (1 << _ENCODINGS) - 1
_ROLES_END: Final = 0x10000


@cache
def _roles() -> npt.NDArray[np.int64]:
    """For each code point up to U+FFFF, the encodings in which its byte starts or continues a character of UTF-8.

    int64[65536]: a bit per encoding, four times: starts one of two bytes, of three, of four; continues one.
    """
    table = np.zeros(_ROLES_END, np.int64)
    ranges = ((0xC2, 0xE0), (0xE0, 0xF0), (0xF0, 0xF5), (0x80, 0xC0))
    for number, encoding in enumerate(CHARMAP_ENCODINGS):
        for role, (first, end) in enumerate(ranges):
            for byte in range(first, end):
                # Where the encoding has nothing at that byte, nothing was decoded to it.
                character = bytes([byte]).decode(encoding, "ignore")
                if character:
                    table[ord(character)] |= 1 << (role * _ENCODINGS + number)
    table[[_SUBSTITUTE, _REPLACEMENT]] |= _EVERY << (3 * _ENCODINGS)
    table.flags.writeable = False
    return table


@kernel
def _suspects(offsets: _Offsets, data: _Bytes, roles: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    result = np.zeros(len(offsets) - 1, np.bool_)
    for document in range(len(result)):
        result[document] = _suspect(data[offsets[document] : offsets[document + 1]], roles)
    return result


@kernel
def _suspect(text: _Bytes, roles: npt.NDArray[np.int64]) -> bool:
    one = two = three = np.int64(0)  # encodings in which so many bytes are missing
    position = 0
    previous = 0
    while position < len(text):
        if text[position] < 0x80 and one == 0 and two == 0 and previous < 0x80:
            position += 1
            continue
        code, size = decode(text, position, len(text))
        position += size
        if code == _SPACE and previous in (_A_CIRCUMFLEX, _A_TILDE):
            return True
        role = roles[code] if code < _ROLES_END else np.int64(0)
        goes_on = role >> (3 * _ENCODINGS) & _EVERY
        if one & goes_on:
            return True
        one = (role & _EVERY) | (two & goes_on)
        two = (role >> _ENCODINGS & _EVERY) | (three & goes_on)
        three = role >> (2 * _ENCODINGS) & _EVERY
        previous = code
    return False
