"""Edits of lines, as C4 makes them: lines that are no prose are dropped, citation marks are cut out of the others.

Guarantees that each edit does only what its field of `LineEdits` says, in time proportional to the bytes, that a text
in which nothing is edited comes out as it was, and that every edit is counted by kind. What then becomes of the
document is the rules' business.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.unicode_classes import LINE_BREAK, SPACE, class_table
from llm_assets.kernels.utf8 import code_at, decode, start_before
from llm_assets.stages.clean.edit.parameters import LineEdits
from llm_assets.stages.clean.edit.phrases import POLICY
from llm_assets.stages.clean.texts import text_buffers, texts_from
from llm_assets.store.ledger import Count

_Bytes = npt.NDArray[np.uint8]
_Integers = npt.NDArray[np.int64]

_LINE_FEED, _CARRIAGE_RETURN = 0x0A, 0x0D
_EXCLAMATION, _QUOTE, _APOSTROPHE, _DOT, _QUESTION = 0x21, 0x22, 0x27, 0x2E, 0x3F
_SMALL = 0x20  # the bit that makes a capital letter of ASCII a small one
_OPEN, _CLOSE, _ZERO, _NINE = 0x5B, 0x5D, 0x30, 0x39

# Phrases one after another, each from its start to the next: javascript, then those of small print, then two citations.
_PHRASES: Final = ("javascript", *POLICY, "[edit]", "[citation needed]")
_TEXT: Final = np.frombuffer("".join(_PHRASES).encode(), np.uint8)
_STARTS: Final = np.cumsum([0, *map(len, _PHRASES)], dtype=np.int64)
_FIRST_POLICY: Final = 1
_FIRST_CITATION: Final = 1 + len(POLICY)

# Kinds of edit, in the order in which a line is tried; a dropped line counts for the first that drops it.
_LONG_WORD, _CITATION, _NOT_TERMINAL, _FEW_WORDS, _JAVASCRIPT, _POLICY, _STRIP, _KEPT = range(8)


def edit_lines(texts: pa.LargeStringArray, edits: LineEdits) -> tuple[pa.LargeStringArray, dict[str, Count]]:
    """The column edited, row for row, and of each kind the documents edited and the bytes removed.

    Kinds are named `lines.<field of LineEdits>`. Raises as `text_buffers` does.
    """
    if edits == LineEdits():
        return texts, {}
    offsets, data = text_buffers(texts)
    switches = np.array(
        [
            edits.max_word_length or 0,
            edits.citations,
            edits.terminal_punctuation,
            edits.min_words or 0,
            edits.javascript,
            edits.policy,
            edits.strip,
        ],
        np.int64,
    )
    new_offsets, new_data, documents, removed = _edit(offsets, data, class_table(), switches)
    names = ("max_word_length", "citations", "terminal_punctuation", "min_words", "javascript", "policy", "strip")
    counts = {
        f"lines.{name}": Count(int(documents[kind]), int(removed[kind]))
        for kind, name in enumerate(names)
        if documents[kind]
    }
    return (texts_from(new_offsets, new_data), counts) if counts else (texts, {})


@kernel
def _edit(
    offsets: _Integers, data: _Bytes, classes: _Bytes, switches: _Integers
) -> tuple[_Integers, _Bytes, _Integers, _Integers]:
    """New offsets and bytes, and for each kind of edit the documents with one and the bytes removed."""
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    bounds = np.zeros(len(offsets), np.int64)
    documents, removed = np.zeros(_KEPT, np.int64), np.zeros(_KEPT, np.int64)
    seen = np.zeros(_KEPT, np.bool_)
    end = 0
    for document in range(len(offsets) - 1):
        text = data[offsets[document] : offsets[document + 1]]
        seen[:] = False
        end = _edit_document(text, classes, switches, out, end, removed, seen)
        bounds[document + 1] = end
        for kind in range(_KEPT):
            documents[kind] += seen[kind]
    return bounds, out[:end].copy(), documents, removed


@kernel
def _edit_document(
    text: _Bytes,
    classes: _Bytes,
    switches: _Integers,
    out: _Bytes,
    begin: int,
    removed: _Integers,
    seen: npt.NDArray[np.bool_],
) -> int:
    """Write the edited text from `begin` on; returns its end. Adds to `removed` and marks the kinds seen."""
    strip = switches[_STRIP] != 0
    end = begin
    position = lines = others = 0  # others: bytes that edits other than stripping removed
    while position < len(text):
        line, start = position, end
        first, last, line_end, position, words, longest = _measure_line(text, line, classes)
        if not strip:
            end = _copy(text, line, first, out, end)
        elif lines:
            out[end] = _LINE_FEED
            end += 1
        body = end
        if switches[_CITATION]:
            end = _copy_without_citations(text, first, last, out, end)
        else:
            end = _copy(text, first, last, out, end)
        kind = _verdict(out[body:end], words, longest, switches)
        if kind == _KEPT:
            amount = (last - first) - (end - body)
            kind = _CITATION
            lines += 1
            seen[_STRIP] |= strip and position > line_end and text[line_end] != _LINE_FEED
            if not strip:
                end = _copy(text, last, position, out, end)
        else:
            amount = position - line
            end = start
        removed[kind] += amount
        seen[kind] |= amount > 0
        others += amount
    if strip:
        end = _strip(out, begin, end, classes)
        stripped = len(text) - (end - begin) - others
        removed[_STRIP] += stripped
        seen[_STRIP] |= stripped > 0
    return end


@kernel
def _measure_line(text: _Bytes, start: int, classes: _Bytes) -> tuple[int, int, int, int, int, int]:
    """Bounds of the line at `start`: start and end of its words, its end without and with the line break.

    Then how many words it has and the characters of the longest. Without words both start and end are `start`.
    """
    first = last = position = start
    words = longest = characters = 0
    while position < len(text):
        code, size = decode(text, position, len(text))
        kind = classes[code]
        if kind & LINE_BREAK:
            following = position + size
            if code == _CARRIAGE_RETURN and following < len(text) and text[following] == _LINE_FEED:
                following += 1
            return first, last, position, following, words, longest
        if kind & SPACE:
            characters = 0
        else:
            if characters == 0:
                first = position if words == 0 else first
                words += 1
            characters += 1
            longest = max(longest, characters)
            last = position + size
        position += size
    return first, last, position, position, words, longest


@kernel
def _copy(text: _Bytes, start: int, stop: int, out: _Bytes, end: int) -> int:
    for position in range(start, stop):
        out[end + position - start] = text[position]
    return end + stop - start


@kernel
def _copy_without_citations(text: _Bytes, start: int, stop: int, out: _Bytes, end: int) -> int:
    position = start
    while position < stop:
        if text[position] == _OPEN:
            size = _citation(text, position, stop)
            if size:
                position += size
                continue
        out[end] = text[position]
        end += 1
        position += 1
    return end


@kernel
def _citation(text: _Bytes, start: int, stop: int) -> int:
    """The size of the citation mark at `start`, which is a bracket; 0 if it is none."""
    for number in range(_FIRST_CITATION, len(_STARTS) - 1):
        phrase = _TEXT[_STARTS[number] : _STARTS[number + 1]]
        if start + len(phrase) <= stop and _stands(text, start, phrase, False):
            return len(phrase)
    position = start + 1
    while position < stop and _ZERO <= text[position] <= _NINE:
        position += 1
    return position + 1 - start if position < stop and text[position] == _CLOSE else 0


@kernel
def _verdict(line: _Bytes, words: int, longest: int, switches: _Integers) -> int:
    """The kind of edit that drops the line, or `_KEPT`."""
    if 0 < switches[_LONG_WORD] < longest:
        return _LONG_WORD
    if switches[_NOT_TERMINAL] and not _is_terminal(line):
        return _NOT_TERMINAL
    if words < switches[_FEW_WORDS]:
        return _FEW_WORDS
    if switches[_JAVASCRIPT] and _holds(line, 0, _FIRST_POLICY):
        return _JAVASCRIPT
    if switches[_POLICY] and _holds(line, _FIRST_POLICY, _FIRST_CITATION):
        return _POLICY
    return _KEPT


@kernel
def _is_terminal(line: _Bytes) -> bool:
    size = len(line)
    if size == 0:
        return False
    last = line[size - 1]
    if last == _DOT:
        return size < 3 or line[size - 2] != _DOT or line[size - 3] != _DOT
    return last in (_EXCLAMATION, _QUESTION, _QUOTE, _APOSTROPHE)


@kernel
def _holds(line: _Bytes, first: int, end: int) -> bool:
    """Whether one of these phrases stands in the line, whatever the case of ASCII letters."""
    for number in range(first, end):
        phrase = _TEXT[_STARTS[number] : _STARTS[number + 1]]
        for position in range(len(line) - len(phrase) + 1):
            if (line[position] | _SMALL) == phrase[0] and _stands(line, position, phrase, True):
                return True
    return False


@kernel
def _stands(text: _Bytes, start: int, phrase: _Bytes, any_case: bool) -> bool:
    for position in range(len(phrase)):
        byte = text[start + position]
        if any_case and 0x41 <= byte <= 0x5A:
            byte |= np.uint8(_SMALL)
        if byte != phrase[position]:
            return False
    return True


@kernel
def _strip(out: _Bytes, begin: int, end: int, classes: _Bytes) -> int:
    """Strip `out[begin:end]` in place; returns its new end."""
    start = begin
    while start < end:
        code, size = decode(out, start, end)
        if not classes[code] & SPACE:
            break
        start += size
    while end > start:
        last = start_before(out, start, end)
        if not classes[code_at(out, last, end)] & SPACE:
            break
        end = last
    return _copy(out, start, end, out, begin)
