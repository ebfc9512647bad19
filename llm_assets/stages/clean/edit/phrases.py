"""The kernel of `measure` that looks at bytes and for phrases: how often bytes occur, addresses, what web pages leave.

Guarantees time proportional to the bytes. Phrases are found whatever the case of their ASCII letters, within words too.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel

# Columns of the counts, each of one document.
CURLY_BRACKETS: Final = 0
URLS: Final = 1
JAVASCRIPT: Final = 2
LOREM_IPSUM: Final = 3
POLICY_PHRASES: Final = 4
HASHES: Final = 5
ASCII_DIGITS: Final = 6
ASCII_UPPERS: Final = 7
COLUMNS: Final = 8

POLICY: Final = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
"""Phrases of C4's code that identify a line of a site's small print."""

_Bytes = npt.NDArray[np.uint8]
_Offsets = npt.NDArray[np.int64]
_Integers = npt.NDArray[np.int32]

_COLON, _CURLY_BRACKET, _HASH = 0x3A, 0x7B, 0x23
_ZERO, _NINE, _LARGE_A, _LARGE_Z = 0x30, 0x39, 0x41, 0x5A
_SMALL_J, _LARGE_J = 0x6A, 0x4A
_OTHERS: Final = 1

_SCRIPT: Final = np.frombuffer(b"javascript", np.uint8)
_HTTP: Final = np.frombuffer(b"http://", np.uint8)
_HTTPS: Final = np.frombuffer(b"https://", np.uint8)
# Phrases of several words: number p is `_TEXT[_STARTS[p]:_STARTS[p + 1]]`, with its first space at byte `_GAPS[p]`.
_PHRASES: Final = ("lorem ipsum", *POLICY)
_TEXT: Final = np.frombuffer("".join(_PHRASES).encode(), np.uint8)
_STARTS: Final = np.cumsum([0, *map(len, _PHRASES)], dtype=np.int64)
_GAPS: Final = np.array([phrase.index(" ") for phrase in _PHRASES], np.int64)


def _around_gap(offset: int) -> npt.NDArray[np.uint8]:
    """For each byte, a bit for each phrase that has it beside its first space: uint8[256]."""
    table = np.zeros(256, np.uint8)
    for number, phrase in enumerate(_PHRASES):
        letter = phrase[phrase.index(" ") + offset]
        table[[ord(letter), ord(letter.upper())]] |= 1 << number
    return table


_BEFORE: Final = _around_gap(-1)
_BEHIND: Final = _around_gap(1)
_AT_GAP: Final = np.where(np.arange(256) == ord(" "), 0xFF, 0).astype(np.uint8)  # a look-up is cheaper than a branch


@kernel
def count_phrases(offsets: _Offsets, data: _Bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Counts int64[documents, COLUMNS], and the entropy of the bytes in bits float64[documents].

    Document i is `data[offsets[i]:offsets[i + 1]]`.
    """
    documents = len(offsets) - 1
    counts = np.zeros((documents, COLUMNS), np.int64)
    entropies = np.zeros(documents, np.float64)
    histogram = np.empty((4, 256), np.int64)
    for document in range(documents):
        text = data[offsets[document] : offsets[document + 1]]
        row = counts[document]
        _count_bytes(text, histogram)
        entropies[document] = _entropy(histogram[0], len(text))
        row[HASHES] = histogram[0, _HASH]
        row[ASCII_DIGITS] = histogram[0, _ZERO : _NINE + 1].sum()
        row[ASCII_UPPERS] = histogram[0, _LARGE_A : _LARGE_Z + 1].sum()
        row[CURLY_BRACKETS] = histogram[0, _CURLY_BRACKET]
        if histogram[0, _COLON]:
            row[URLS] = _count_urls(text)
        if histogram[0, _SMALL_J] + histogram[0, _LARGE_J]:
            row[JAVASCRIPT] = _count_javascript(text)
        _count_gaps(text, row)
    return counts, entropies


@kernel
def _count_bytes(text: _Bytes, histogram: npt.NDArray[np.int64]) -> None:
    """How often each byte occurs, into row 0. Four rows, because counting one byte twice in a row stalls."""
    histogram[:] = 0
    quarters = len(text) // 4 * 4
    for position in range(0, quarters, 4):
        histogram[0, text[position]] += 1
        histogram[1, text[position + 1]] += 1
        histogram[2, text[position + 2]] += 1
        histogram[3, text[position + 3]] += 1
    for position in range(quarters, len(text)):
        histogram[0, text[position]] += 1
    for byte in range(256):
        histogram[0, byte] += histogram[1, byte] + histogram[2, byte] + histogram[3, byte]


@kernel
def _entropy(histogram: npt.NDArray[np.int64], total: int) -> float:
    if total == 0:
        return 0.0
    weighted = 0.0
    for count in histogram:
        if count > 1:
            weighted += count * np.log2(count)
    return max(0.0, np.log2(total) - weighted / total)


@kernel
def _count_urls(text: _Bytes) -> int:
    found = 0
    for position in range(len(text)):
        if text[position] == _COLON:
            found += _stands(text, position - 4, _HTTP) or _stands(text, position - 5, _HTTPS)
    return found


@kernel
def _count_javascript(text: _Bytes) -> int:
    found = 0
    for position in range(len(text)):
        if text[position] == _SMALL_J or text[position] == _LARGE_J:
            found += _stands(text, position, _SCRIPT)
    return found


@kernel
def _count_gaps(text: _Bytes, row: npt.NDArray[np.int64]) -> None:
    """Count the phrases of several words, each found by the letters on both sides of its first space."""
    for position in range(1, len(text) - 1):
        possible = _BEFORE[text[position - 1]] & _BEHIND[text[position + 1]]
        if not possible & _AT_GAP[text[position]]:
            continue
        for number in range(len(_GAPS)):
            if possible >> number & 1:
                phrase = _TEXT[_STARTS[number] : _STARTS[number + 1]]
                column = LOREM_IPSUM if number < _OTHERS else POLICY_PHRASES
                row[column] += _stands(text, position - _GAPS[number], phrase)


@kernel
def _stands(text: _Bytes, start: int, phrase: _Bytes) -> bool:
    """Whether the phrase, in small letters, stands at `start`, which may be out of the text."""
    if start < 0 or start + len(phrase) > len(text):
        return False
    for position in range(len(phrase)):
        byte = text[start + position]
        if byte != phrase[position] and (byte < 0x41 or byte > 0x5A or byte + 0x20 != phrase[position]):
            return False
    return True
