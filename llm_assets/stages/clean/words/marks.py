"""Look-up tables for splitting words: the characters that are marks, and the English words that are exceptions.

Guarantees that both come from what is written here and from the running Python's Unicode tables alone. The exceptions
follow what spaCy's blank English pipeline does with them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.unicode_classes import CODE_POINTS
from llm_assets.stages.clean.words.lexicon import EXCEPTION, JOINED, UNIT, Lexicon, lexicon
from llm_assets.stages.clean.words.punctuation import (
    ANYWHERE,
    BEFORE_STOP,
    CAPITAL,
    CLOSING,
    KNOWN,
    OPENING,
    QUOTE,
    SMALL,
    WITHIN,
    Splitter,
    cut_stretch,
)

# Of ASCII and Latin-1 what is a mark at either end of a stretch, or at its start alone; beyond, categories decide.
_AT_ENDS: Final = frozenset("!\"#&'()*,:;<>?[]_`{}¡«´·»¿–—")
_AT_START: Final = frozenset("$%+=§£¥")
_LATIN: Final = "\u0100"
_CATEGORIES_AT_ENDS: Final = frozenset(("Po", "Ps", "Pe", "Pi", "Pf", "So"))
# Punctuation that stands within words, or is read with the number beside it.
_WITHIN_WORDS: Final = frozenset("†‡‰‱′″‴‧")
_WITHIN: Final = frozenset(".,-–—~:<>=/+*^")
_BEFORE_STOP: Final = frozenset("%²-+|")

_PRONOUNS: Final = {
    "i": "'d 'll 've 'm",
    "you": "'d 'll 've 're",
    "we": "'d 'll 've 're",
    "they": "'d 'll 've 're",
    "he": "'d 'll 's",
    "she": "'d 'll 's",
    "it": "'d 'll 's",
    "that": "'d 'll 's",
    "this": "'d 'll 's",
    "these": "'d 'll 've 're",
    "those": "'d 'll 've 're",
    "there": "'d 'll 've 're 's",
    "who": "'d 'll 've 's",
    "what": "'d 'll 've 're 's",
    "when": "'d 'll 've 're 's",
    "where": "'d 'll 've 're 's",
    "why": "'d 'll 've 're 's",
    "how": "'d 'll 've 're 's",
}
_NEGATED: Final = (
    "ai are ca could dare did does do had has have is may might must need ought sha should was were wo would"
)
_WITH_HAVE: Final = "could might must not should would"
# Cut where a bar stands.
_CUT: Final = "i|'m|a let|'s can|not gon|na got|ta c'm|on y'|all"
_WHOLE: Final = "o'clock ma'am doin' goin' havin' lovin' nothin' nuthin' somethin' ol'"
_AS_WRITTEN: Final = (
    "'s 'S ’s ’S '' ’’ 'd 'll 're 'em 'bout 'cause 'cos 'coz 'cuz 'nuff ’d ’ll ’re ’em and/or w/o C++ \\n \\t"
)
_OF_THEIR_OWN: Final = frozenset(("hell", "ill", "its", "lets", "shed", "shell", "well", "were"))
"""Contractions that without their apostrophe are other words."""

_ABBREVIATIONS: Final = (
    "Adm. Bros. Co. Corp. D.C. Dr. E.G. E.g. Gen. Gov. I.E. I.e. Inc. Jr. Ltd. Messrs. Mr. Mrs. Ms. Mt. Ph.D. Prof. "
    "Rep. Rev. Sen. St. a.m. co. e.g. i.e. p.m. v.s. vs. "
    "Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. "
    "Ak. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Md. Mich. Minn. "
    "Miss. Mo. Mont. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis."
)
_LETTERS_WITH_STOP: Final = "abcdefghijklmnopqrstuvwxyzäöü"
_MOUTHS: Final = ") )) ))) ( (( ((( () * / 0 1 3 > D O P X ] o o) p x | }"
_FACES: Final = (
    ":'( :') :'-( :'-) ;) ;-) ;D ;-D ;_; =( =) =/ =3 =D =[ =] =| 8) 8-) 8D 8-D "
    "(: (; (= (-: (-; (-8 (o: ): )-: [: [= [-: ]= <3 <33 </3 >:( >:o >.< >.> <.<"
)
_UNITS: Final = (
    "km m dm cm mm µm nm km² m² dm² cm² mm² km³ m³ dm³ cm³ mm³ ha yd in ft kg g mg µg t lb oz m/s km/h kmh mph "
    "hPa Pa mbar mb MB kb KB gb GB tb TB T G M K"
)


def splitter(longest: int) -> Splitter:
    """The tables for texts of at most so many bytes. Not to be shared between threads."""
    return Splitter(mark_table(), _lexicon(), np.zeros(3 * KNOWN, np.uint64), np.zeros(longest + 1, np.uint8))


def words_of(text: str) -> list[str]:
    """The words of a text, as the statistics count them where punctuation marks are words."""
    words: list[str] = []
    stretches = [stretch.encode() for stretch in text.split()]
    tables = splitter(max(map(len, stretches), default=0))
    for stretch in stretches:
        size = len(stretch)
        cut_stretch(np.frombuffer(stretch, np.uint8), 0, size, *tables)
        starts = [0, *np.flatnonzero(tables.cuts[:size]).tolist(), size]
        tables.cuts[:size] = 0
        words += [stretch[start:end].decode() for start, end in pairwise(starts)]
    return words


@cache
def _lexicon() -> Lexicon:
    table = lexicon(entries())
    table.flags.writeable = False
    return table


def entries() -> dict[bytes, int]:
    """The entries of the lexicon: exceptions, units and words that are joined, as `lexicon` takes them."""
    found = {word: EXCEPTION | cuts for word, cuts in _exceptions()}
    faces = {face.encode(): EXCEPTION | JOINED for face in _faces()}
    units = {unit.encode(): UNIT for unit in _UNITS.split()}
    for more in (faces, units, {b"''": JOINED}):
        found |= {entry: found.get(entry, 0) | kind for entry, kind in more.items()}
    return found


def _faces() -> Iterator[str]:
    yield from _FACES.split()
    for mouth in _MOUTHS.split():
        yield f":{mouth}"
        yield f":-{mouth}"


def _exceptions() -> Iterator[tuple[bytes, int]]:
    """Words, and at which of their bytes further words begin."""
    for parts in _contractions():
        for first in (parts[0], parts[0][0].upper() + parts[0][1:]):
            yield _entry(first, *parts[1:])
    for hour in range(1, 13):
        for half in ("am", "pm", "a.m.", "p.m."):
            yield _entry(str(hour), half)
    for word in (*_AS_WRITTEN.split(), *_ABBREVIATIONS.split(), *(f"{letter}." for letter in _LETTERS_WITH_STOP)):
        yield _entry(word)


def _contractions() -> Iterator[tuple[str, ...]]:
    """In small letters, cut, with either apostrophe; and without, where that is no other word."""
    for pronoun, endings in _PRONOUNS.items():
        for ending in endings.split():
            yield from _with_apostrophes(pronoun, ending)
            if ending in ("'d", "'ll"):
                yield from _with_apostrophes(pronoun, ending, "'ve")
    for verb in _NEGATED.split():
        yield from _with_apostrophes(verb, "n't")
        yield from _with_apostrophes(verb, "n't", "'ve")
    for verb in _WITH_HAVE.split():
        yield from _with_apostrophes(verb, "'ve")
    for word in (*_CUT.split(), *_WHOLE.split()):
        yield from _with_apostrophes(*word.split("|"))


def _with_apostrophes(*parts: str) -> Iterator[tuple[str, ...]]:
    yield parts
    if any("'" in part for part in parts):
        yield tuple(part.replace("'", "’") for part in parts)
        bare = tuple(part.replace("'", "") for part in parts)
        if "".join(bare) not in _OF_THEIR_OWN:
            yield bare


def _entry(*parts: str) -> tuple[bytes, int]:
    encoded = [part.encode() for part in parts]
    return b"".join(encoded), sum(1 << len(b"".join(encoded[:part])) for part in range(1, len(parts)))


def mark_flags(character: str) -> int:
    """The flags of `punctuation` that a character has."""
    category = unicodedata.category(character)
    picture = category == "So"
    latin = character < _LATIN
    at_ends = character in _AT_ENDS or picture
    at_start = character in _AT_START
    if not latin and character not in _WITHIN_WORDS:
        at_ends |= category in _CATEGORIES_AT_ENDS
        at_start |= category == "Sc"
    letter = category[0] in "LM"
    flags = OPENING * (at_ends or at_start) | CLOSING * at_ends
    flags |= SMALL * (letter and not character.isupper()) | CAPITAL * (letter and not character.islower())
    flags |= QUOTE * (category in ("Pi", "Pf") or character in "'\"`´‚„")
    flags |= ANYWHERE * (picture or character == "…") | WITHIN * (character in _WITHIN)
    before_stop = (at_ends and not picture and character not in "–—") or character in _BEFORE_STOP
    before_stop |= bool(flags & SMALL) or category == "Nd"
    return flags | BEFORE_STOP * before_stop


@cache
def mark_table() -> npt.NDArray[np.uint8]:
    """`mark_flags` of every code point: uint8[0x110000], read-only."""
    table = np.fromiter((mark_flags(chr(code)) for code in range(CODE_POINTS)), np.uint8, CODE_POINTS)
    table.flags.writeable = False
    return table
