"""The kernel of `measure` that looks at lines and paragraphs: how long they are, how they end, which are repeated.

Guarantees exact answers in time proportional to the bytes: every line and paragraph is told from every other. A line
here is what stands between line feeds, as in the rules of Gopher's repetition and of FineWeb; the lines of
`str.splitlines()` are counted in `count`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.numbering import number_stretch, table_size
from llm_assets.kernels.utf8 import code_at, decode, start_before

# Columns of the counts, each of one document. "Full" lines have more than white space.
LINE_FEEDS: Final = 0
FULL_LINES: Final = 1
FULL_LINE_CHARACTERS: Final = 2
LONGEST_LINE: Final = 3
SHORT_LINES: Final = 4  # full ones
PUNCTUATED_LINES: Final = 5  # full ones
DUPLICATE_FULL_LINE_CHARACTERS: Final = 6
RUNS: Final = 7  # what a split at runs of line feeds yields
DUPLICATE_RUNS: Final = 8
DUPLICATE_RUN_CHARACTERS: Final = 9
PARAGRAPHS: Final = 10
DUPLICATE_PARAGRAPHS: Final = 11
DUPLICATE_PARAGRAPH_CHARACTERS: Final = 12
COLUMNS: Final = 13

SHORT: Final = 30

_LINE_FEED: Final = 0x0A
_Bytes = npt.NDArray[np.uint8]
_Offsets = npt.NDArray[np.int64]
_Integers = npt.NDArray[np.int32]


class _Table(NamedTuple):
    """Room for the table in which lines, or paragraphs, are looked up: see `numbering.number_stretch`."""

    hashes: npt.NDArray[np.uint64]
    firsts: _Integers
    slots: _Integers


@kernel
def count_lines(offsets: _Offsets, data: _Bytes, classes: _Bytes, space: int, terminal: int) -> npt.NDArray[np.int64]:
    """Counts of every document: int64[documents, COLUMNS].

    Document i is `data[offsets[i]:offsets[i + 1]]`; `classes` is `class_table()`, in which `space` and `terminal` are
    the flags of white space and of what ends a sentence. A text is under 2 GiB.
    """
    counts = np.zeros((len(offsets) - 1, COLUMNS), np.int64)
    room = 256
    starts, sizes, table = np.empty(room, np.int32), np.empty(room, np.int32), _table(room)
    for document in range(len(counts)):
        text = data[offsets[document] : offsets[document + 1]]
        if len(text) == 0:
            continue
        row = counts[document]
        row[LINE_FEEDS] = _line_feeds(text)
        ascii_only = _is_ascii(text)
        if row[LINE_FEEDS] >= room:
            room = 2 * (row[LINE_FEEDS] + 1)
            starts, sizes, table = np.empty(room, np.int32), np.empty(room, np.int32), _table(room)
        lines = _split(text, starts, sizes)
        _count_lines(text, starts[:lines], sizes[:lines], table, classes, space, terminal, ascii_only, row)
        paragraphs = _paragraphs(text, starts, sizes, lines, classes, space)
        _count_paragraphs(text, starts[:paragraphs], sizes[:paragraphs], table, ascii_only, row)
    return counts


@kernel
def _table(entries: int) -> _Table:
    return _Table(np.empty(entries, np.uint64), np.empty(entries, np.int32), np.empty(table_size(entries), np.int32))


@kernel(counted=False)
def _line_feeds(text: _Bytes) -> int:
    found = 0
    for position in range(len(text)):
        found += text[position] == _LINE_FEED
    return found


@kernel(counted=False)
def _is_ascii(text: _Bytes) -> bool:
    together = np.uint8(0)
    for position in range(len(text)):
        together |= text[position]
    return int(together) < 0x80


@kernel(counted=False)
def _split(text: _Bytes, starts: _Integers, sizes: _Integers) -> int:
    """The lines that are not empty, in order; returns how many."""
    lines = start = 0
    for position in range(len(text)):
        if text[position] == _LINE_FEED:
            starts[lines], sizes[lines] = start, position - start
            lines += position > start
            start = position + 1
    if start < len(text):
        starts[lines], sizes[lines] = start, len(text) - start
        lines += 1
    return lines


@kernel(counted=False)
def _count_lines(
    text: _Bytes,
    starts: _Integers,
    sizes: _Integers,
    table: _Table,
    classes: _Bytes,
    space: int,
    terminal: int,
    ascii_only: bool,
    row: npt.NDArray[np.int64],
) -> None:
    hashes, firsts, slots = table
    size_of_table = table_size(len(starts))
    slots[:size_of_table] = 0
    different = 0
    for line in range(len(starts)):
        start, size = int(starts[line]), int(sizes[line])
        characters = size if ascii_only else _characters(text[start : start + size])
        number = number_stretch(text, line, starts, sizes, different, hashes, firsts, slots, size_of_table)
        repeated = number < different
        different += not repeated
        row[DUPLICATE_RUNS] += repeated
        row[DUPLICATE_RUN_CHARACTERS] += characters * repeated
        row[LONGEST_LINE] = max(row[LONGEST_LINE], characters)
        end = start + size
        if ((classes[text[start]] & space) | (text[start] & 0x80)) and (
            _full_from(text, start, end, classes, space) == end
        ):
            continue
        row[FULL_LINES] += 1
        row[FULL_LINE_CHARACTERS] += characters
        row[SHORT_LINES] += characters <= SHORT
        last = end - 1 if ascii_only else start_before(text, start, end)
        row[PUNCTUATED_LINES] += classes[code_at(text, last, end)] & terminal != 0
        row[DUPLICATE_FULL_LINE_CHARACTERS] += characters * repeated
    # A split at runs of line feeds also yields what is before a run at the very start, and behind one at the end.
    empty = int(text[0] == _LINE_FEED) + int(text[-1] == _LINE_FEED)
    row[RUNS] = len(starts) + empty
    row[DUPLICATE_RUNS] += empty == 2


@kernel(counted=False)
def _count_paragraphs(
    text: _Bytes,
    starts: _Integers,
    sizes: _Integers,
    table: _Table,
    ascii_only: bool,
    row: npt.NDArray[np.int64],
) -> None:
    hashes, firsts, slots = table
    size_of_table = table_size(len(starts))
    slots[:size_of_table] = 0
    different = 0
    row[PARAGRAPHS] = len(starts)
    for paragraph in range(len(starts)):
        number = number_stretch(text, paragraph, starts, sizes, different, hashes, firsts, slots, size_of_table)
        if number == different:
            different += 1
        else:
            start, size = int(starts[paragraph]), int(sizes[paragraph])
            row[DUPLICATE_PARAGRAPHS] += 1
            row[DUPLICATE_PARAGRAPH_CHARACTERS] += size if ascii_only else _characters(text[start : start + size])


@kernel(counted=False)
def _paragraphs(text: _Bytes, starts: _Integers, sizes: _Integers, lines: int, classes: _Bytes, space: int) -> int:
    """In place of the lines, the paragraphs of `text.strip()`: what stands between two or more line feeds."""
    start, end = _stripped(text, classes, space)
    paragraphs = 0
    following = -1
    for line in range(lines):
        line_start = max(start, int(starts[line]))
        line_end = min(end, int(starts[line]) + int(sizes[line]))
        if line_start >= line_end:
            continue
        if line_start == following:
            sizes[paragraphs - 1] = line_end - starts[paragraphs - 1]
        else:
            starts[paragraphs], sizes[paragraphs] = line_start, line_end - line_start
            paragraphs += 1
        following = line_end + 1
    return paragraphs


@kernel(counted=False)
def _stripped(text: _Bytes, classes: _Bytes, space: int) -> tuple[int, int]:
    """Where `text.strip()` starts and ends."""
    start, end = _full_from(text, 0, len(text), classes, space), len(text)
    while end > start:
        last = start_before(text, start, end)
        if not classes[code_at(text, last, end)] & space:
            break
        end = last
    return start, end


@kernel(counted=False)
def _full_from(text: _Bytes, start: int, end: int, classes: _Bytes, space: int) -> int:
    """Where the first character of `text[start:end]` stands that is no white space; `end` without one."""
    while start < end:
        code, size = decode(text, start, end)
        if not classes[code] & space:
            break
        start += size
    return start


@kernel(counted=False)
def _characters(stretch: _Bytes) -> int:
    """How many code points: bytes that do not continue one."""
    characters = 0
    for position in range(len(stretch)):
        characters += (stretch[position] & 0xC0) != 0x80
    return characters
