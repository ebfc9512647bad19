"""The kernel of `measure` that looks at characters, words and the lines of `str.splitlines()`, in one pass.

Guarantees that time is proportional to the bytes, that nothing outside a document's bytes is read, and that no
Python object is made. What the counts amount to (ratios, names) is `measure`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.unicode_classes import ALPHABETIC, CLOSING, DIGIT, LINE_BREAK, SPACE, SYMBOL, TERMINAL, UPPER
from llm_assets.kernels.utf8 import decode
from llm_assets.stages.clean.words.punctuation import CUTTING, Splitter, cut_exception, cut_stretch

_UPPER_BIT, _DIGIT_BIT = 3, 4

# Columns of the counts, each of one document.
CHARACTERS: Final = 0
LINES: Final = 1
WORDS: Final = 2
NON_SYMBOL_WORDS: Final = 3
NON_SYMBOL_CHARACTERS: Final = 4  # of the non-symbol words
STOP_WORDS: Final = 5
ELLIPSES: Final = 6
BULLET_LINES: Final = 7
ELLIPSIS_LINES: Final = 8
ALPHABETIC_WORDS: Final = 9
FOREIGN_DIGITS: Final = 10  # those that are not ASCII; `phrases` counts the others
FOREIGN_UPPERS: Final = 11
SPACES: Final = 12
UPPER_WORDS: Final = 13
LONGEST_WORD: Final = 14
SENTENCES: Final = 15
TERMINAL_LINES: Final = 16
COLUMNS: Final = 17

# A mark that ends a sentence does so before any character if it is of a script that puts no space there.
_WIDE: Final = 0x3000

_LINE_FEED, _CARRIAGE_RETURN = 0x0A, 0x0D
_EXCLAMATION, _QUESTION, _QUOTE, _APOSTROPHE = 0x21, 0x3F, 0x22, 0x27
_HYPHEN, _DOT, _BULLET, _ELLIPSIS = 0x2D, 0x2E, 0x2022, 0x2026
_NO_WORD = -1

_Bytes = npt.NDArray[np.uint8]
_Integers = npt.NDArray[np.int64]
_Places = npt.NDArray[np.int32]

MAX_STOP_WORDS: Final = 64
_BUCKETS = 256


class StopWords(NamedTuple):
    """At most 64 words, in buckets by length, first and last byte (a named tuple, which a kernel can take).

    Word w is `data[starts[w]:starts[w + 1]]` (uint8[bytes], int64[words + 1]). A bucket's words are `first[bucket]`
    (int64[256]), then `following[word]` (int64[words]) of each, up to -1.
    """

    data: _Bytes
    starts: _Integers
    first: _Integers
    following: _Integers

    @classmethod
    def of(cls, words: Iterable[str]) -> Self:
        """Raises ValueError for more than 64 words, and for one that no split at whitespace could yield."""
        distinct = sorted(set(words))
        if len(distinct) > MAX_STOP_WORDS:
            raise ValueError(f"{len(distinct)} stop words: at most {MAX_STOP_WORDS} are counted")
        for word in distinct:
            if word.split() != [word]:
                raise ValueError(f"stop word {word!r} is not one word")
        encoded = [word.encode() for word in distinct]
        first = np.full(_BUCKETS, _NO_WORD, np.int64)
        following = np.full(len(encoded), _NO_WORD, np.int64)
        for number, word in enumerate(encoded):
            bucket = _bucket(len(word), word[0], word[-1])
            following[number], first[bucket] = first[bucket], number
        starts = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), starts, first, following)


@kernel
def _bucket(size: int, first_byte: int, last_byte: int) -> np.int64:
    return (size + np.int64(first_byte) * 37 + np.int64(last_byte) * 11) % _BUCKETS


@kernel
def count(
    offsets: _Integers,
    data: _Bytes,
    classes: _Bytes,
    stop_words: StopWords,
    starts: _Places,
    sizes: _Places,
    ends: _Places,
    splitter: Splitter | None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Counts of every document int64[documents, COLUMNS], and the `bounds` of `ngrams.Words`.

    Document i is `data[offsets[i]:offsets[i + 1]]`, under 2 GiB; `classes` is `class_table()`. Where the words stand
    is written to `starts`, `sizes` and `ends` (int32, as `ngrams.Words` has them), which need room for half the bytes
    and a word per document; with a splitter, whose words are words then instead of those at white space, for all bytes.
    Sentences end then at words too: behind one that is a terminal mark, and symbols behind that.
    """
    counts = np.zeros((len(offsets) - 1, COLUMNS), np.int64)
    bounds = np.zeros(len(offsets), np.int64)
    for document in range(len(counts)):
        text = data[offsets[document] : offsets[document + 1]]
        first = bounds[document]
        row = counts[document]
        _count_document(text, classes, stop_words, row, starts[first:], sizes[first:], ends[first:], splitter)
        bounds[document + 1] = first + row[WORDS]
    return counts, bounds


@kernel(counted=False)
def _count_document(
    text: _Bytes,
    classes: _Bytes,
    stop_words: StopWords,
    row: _Integers,
    starts: _Places,
    sizes: _Places,
    ends: _Places,
    splitter: Splitter | None,
) -> None:
    """Count one document into its row of zeros. One long function: a call for each word takes a third of the speed."""
    position = line_start = word_end = spaces = words = word_characters = sentences = longest = 0
    uppers = digits = ellipses = 0
    # 1 where the line has words behind its last end of a sentence; with a splitter 2 where that end is not behind us.
    unfinished = 0
    stop_words_seen = np.uint64(0)
    while position < len(text):
        # `decode` would do for ASCII too, here and within a word, but the call is dear.
        code, size = np.int64(text[position]), 1
        if code >= 0x80:
            code, size = decode(text, position, len(text))
        kind = classes[code]

        if kind & SPACE:
            spaces += 1
            position += size
            if kind & LINE_BREAK:
                if code == _CARRIAGE_RETURN and position < len(text) and text[position] == _LINE_FEED:
                    spaces += 1
                    position += 1
                row[LINES] += 1
                row[ELLIPSIS_LINES] += _ends_in_ellipsis(text, line_start, word_end)
                row[TERMINAL_LINES] += _ends_as_in_c4(text, line_start, word_end)
                sentences += unfinished != 0
                unfinished = 0
                line_start = position
            continue

        if word_end <= line_start:
            row[BULLET_LINES] += code in (_BULLET, _HYPHEN)
        word_start = position
        continuing = dots = 0
        ended, wide = -1, False  # the byte behind the last mark that ends a sentence, and what closes it
        some, every, cutting = np.uint8(0), np.uint8(0xFF), np.uint8(0)
        while True:
            some |= kind
            every &= kind
            position += size
            # All that few characters need is behind this one branch.
            if kind & (TERMINAL | CLOSING) or size > 1:
                if size > 1:
                    continuing += size - 1
                    uppers += (kind >> _UPPER_BIT) & 1
                    digits += (kind >> _DIGIT_BIT) & 1
                    ellipses += code == _ELLIPSIS
                    if splitter is not None:
                        cutting |= splitter.marks[code]
                elif code == _DOT:
                    dots = dots + 1 if dots and text[position - 2] == _DOT else 1
                    if dots == 3:
                        ellipses += 1
                        dots = 0
                if splitter is not None:
                    pass
                elif kind & TERMINAL:
                    sentences += wide and ended < position - size
                    ended, wide = position, code >= _WIDE
                elif kind & CLOSING and ended == position - size:
                    ended = position
            if position == len(text):
                break
            code, size = np.int64(text[position]), 1
            if code >= 0x80:
                code, size = decode(text, position, len(text))
            kind = classes[code]
            if kind & SPACE:
                break
        word_end = position
        stretch_end, whole = word_end, True
        characters = word_end - word_start - continuing
        if splitter is None:
            sentences += ended == word_end or wide
            unfinished = ended != word_end
        else:
            if some & (SYMBOL | DIGIT) or cutting & CUTTING:
                marks, lexicon, known, cuts = splitter
                cut_stretch(text, word_start, word_end, marks, lexicon, known, cuts)
                whole = False
            else:
                whole = cut_exception(text, word_start, word_end, splitter.lexicon, splitter.cuts) < 2
        while True:
            if splitter is not None and not whole:
                word_end, characters, some, every = _word(text, word_start, stretch_end, classes, splitter.cuts)
            longest = max(longest, characters)
            word_characters += characters
            starts[words], sizes[words], ends[words] = word_start, word_end - word_start, word_characters
            words += 1
            row[ALPHABETIC_WORDS] += (some & ALPHABETIC) != 0
            row[UPPER_WORDS] += (every & UPPER) != 0
            if not every & SYMBOL:
                row[NON_SYMBOL_WORDS] += 1
                row[NON_SYMBOL_CHARACTERS] += characters
            candidate = stop_words.first[_bucket(word_end - word_start, text[word_start], text[word_end - 1])]
            if candidate != _NO_WORD:
                stop_words_seen |= _stop_word_bit(text[word_start:word_end], candidate, stop_words)
            if splitter is None:
                break
            if characters == 1 and every & TERMINAL:
                unfinished = 2
            elif unfinished < 2:
                unfinished = 1
            elif not every & SYMBOL:
                sentences += 1
                unfinished = 1
            if word_end == stretch_end:
                break
            word_start = word_end

    if line_start < len(text):
        row[LINES] += 1
        row[ELLIPSIS_LINES] += _ends_in_ellipsis(text, line_start, word_end)
        row[TERMINAL_LINES] += _ends_as_in_c4(text, line_start, word_end)
    row[SENTENCES] = sentences + (unfinished != 0)
    row[FOREIGN_UPPERS] = uppers
    row[FOREIGN_DIGITS] = digits
    row[ELLIPSES] = ellipses
    row[WORDS] = words
    row[LONGEST_WORD] = longest
    row[SPACES] = spaces
    row[CHARACTERS] = word_characters + spaces
    row[STOP_WORDS] = _ones(stop_words_seen)


@kernel(counted=False)
def _word(
    text: _Bytes, start: int, stretch_end: int, classes: _Bytes, cuts: _Bytes
) -> tuple[int, int, np.uint8, np.uint8]:
    """Where the word ends that starts here, its characters, and the flags of some and of every of them.

    A cut that it ends at is taken away.
    """
    position, characters = start, 0
    some, every = np.uint8(0), np.uint8(0xFF)
    while True:
        code, size = np.int64(text[position]), 1
        if code >= 0x80:
            code, size = decode(text, position, len(text))
            for within in range(position + 1, min(position + size, stretch_end)):
                cuts[within] = 0  # in what is no UTF-8 there may be one, and it must not be left to the next text
        kind = classes[code]
        some |= kind
        every &= kind
        characters += 1
        position += size
        if position >= stretch_end:
            return stretch_end, characters, some, every
        if cuts[position]:
            cuts[position] = 0
            return position, characters, some, every


@kernel
def _ends_in_ellipsis(text: _Bytes, start: int, end: int) -> bool:
    """Whether `text[start:end]` ends with three dots or with the three bytes of U+2026."""
    if end - start < 3:
        return False
    a, b, c = text[end - 3], text[end - 2], text[end - 1]
    return (a == _DOT and b == _DOT and c == _DOT) or (a == 0xE2 and b == 0x80 and c == 0xA6)


@kernel
def _ends_as_in_c4(text: _Bytes, start: int, end: int) -> bool:
    """Whether `text[start:end]` ends with one of . ! ? " ' but not with three dots."""
    if end <= start:
        return False
    last = text[end - 1]
    if last == _DOT:
        return end - start < 3 or text[end - 2] != _DOT or text[end - 3] != _DOT
    return last in (_EXCLAMATION, _QUESTION, _QUOTE, _APOSTROPHE)


@kernel
def _stop_word_bit(word: _Bytes, candidate: int, stop_words: StopWords) -> np.uint64:
    """1 << w where the word is stop word w, of those that share a bucket with `candidate`; else 0."""
    while candidate != _NO_WORD:
        start, end = stop_words.starts[candidate], stop_words.starts[candidate + 1]
        if _same(word, stop_words.data[start:end]):
            return np.uint64(1) << np.uint64(candidate)
        candidate = stop_words.following[candidate]
    return np.uint64(0)


@kernel
def _same(left: _Bytes, right: _Bytes) -> bool:
    if len(left) != len(right):
        return False
    different = 0
    for position in range(len(left)):
        different += left[position] != right[position]
    return different == 0


@kernel
def _ones(bits: np.uint64) -> int:
    ones = 0
    while bits:
        bits &= bits - np.uint64(1)
        ones += 1
    return ones
