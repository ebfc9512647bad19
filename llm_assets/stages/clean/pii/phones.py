"""How telephone numbers are written.

Guarantees that a number is taken for a telephone's only where its form is one that little else has (a calling
code, North America's 3-3-4 digits, a trunk prefix and groups), or where a word beside it says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from llm_assets.stages.clean.pii import context
from llm_assets.stages.clean.pii.countries import CALLING_CODES
from llm_assets.stages.clean.pii.numbers import digits_of
from llm_assets.stages.clean.pii.pattern import Extent, Pattern
from llm_assets.stages.clean.pii.spans import Kind

MIN_DIGITS: Final = 7
MAX_DIGITS: Final = 15
"""Most digits of a number with its calling code (E.164), and fewest digits of a personal one."""

_GAP: Final = rb"\)?(?: ?- ?|[ ./])?\(?"
_EXTENSION: Final = rb"(?:[ ,;]{0,2}(?i:x|ext\.?|extension)[ .:]?[0-9]{1,6}(?![A-Za-z0-9_]))"
_OUTSIDE: Final = rb"(?<![A-Za-z0-9_.+])(?<![A-Za-z0-9_][-/])"

_TAIL: Final = re.compile(rb"%b?(?![A-Za-z0-9_])" % _EXTENSION)
_GROUP: Final = re.compile(rb"[0-9]+")
_TRUNK_ZERO: Final = b"(0)"


def _extent(match: re.Match[bytes], number: bytes) -> Extent | None:
    """The number with its extension, unless it goes on as a word does."""
    tail = _TAIL.match(match.string, match.start() + len(number))
    return None if tail is None else (match.start(), tail.end())


def _is_balanced(number: bytes) -> bool:
    """Whether it has no parentheses, or one pair of them."""
    return number.count(b"(") == number.count(b")") <= 1 and number.find(b"(") <= number.find(b")")


def _sizes(number: bytes) -> list[int]:
    return list(map(len, _GROUP.findall(number)))


def _separators(number: bytes) -> set[int]:
    """Without parentheses."""
    return set(number).intersection(b" ./-")


_INTERNATIONAL: Final = re.compile(
    rb"(?<![A-Za-z0-9_+])\+(?P<number>\(?[1-9](?:%b[0-9]){%d,16}+\)?)" % (_GAP, MIN_DIGITS - 1)
)


def _is_international(number: bytes) -> bool:
    """Whether the digits are a calling code and as many more as its numbering plan has.

    North American numbers also need an area code that can be (2xx to 9xx), and an exchange too if nothing groups
    the digits. One point alone is that of a fraction.
    """
    number = number.replace(_TRUNK_ZERO, b"")
    sizes, digits = _sizes(number), digits_of(number)
    code = next((digits[:size] for size in (1, 2, 3) if digits[:size] in CALLING_CODES), None)
    if code is None or not 8 <= len(digits) <= MAX_DIGITS or sizes.count(1) > 2:
        return False
    if len(sizes) == 2 and b"." in number:
        return False
    shortest, longest = CALLING_CODES[code]
    national = digits[len(code) :]
    if code == "1" and (national[:1] < "2" or (len(sizes) == 1 and national[3:4] < "2")):
        return False
    return shortest <= len(national) <= longest


def _cuts(number: bytes) -> Iterator[bytes]:
    """The number, then the same without its last group of digits, and so on."""
    stops = [group.end() for group in _GROUP.finditer(number)]
    return (number[:stop] for stop in reversed(stops))


def _international(match: re.Match[bytes]) -> Extent | None:
    """The longest run of groups that is a number of some country: "+1 201 555 0123 12" has two digits too many."""
    for number in _cuts(match["number"]):
        if _is_balanced(number) and _is_international(number):
            return _extent(match, b"+" + number)
    return None


_NORTH_AMERICAN: Final = re.compile(
    rb"%b(?P<number>(?:1[ ./-])?(?:\([2-9][0-9]{2}\)[ ./-]?[2-9][0-9]{2}[ ./-][0-9]{4}"
    rb"|(?:[2-9][0-9]{2}[ /-][2-9][0-9]{2}-|[2-9][0-9]{2}\.[2-9][0-9]{2}\.)[0-9]{4}))(?![.-][0-9])" % _OUTSIDE
)


def _north_american(match: re.Match[bytes]) -> Extent | None:
    return _extent(match, match["number"])


_NATIONAL: Final = re.compile(
    rb"%b(?<![0-9][ .])(?P<number>\(?[0-9](?:%b[0-9]){%d,16}+)(?![./-][0-9])" % (_OUTSIDE, _GAP, MIN_DIGITS - 1)
)
_DATE: Final = re.compile(rb"(?:19|20)[0-9]{2}(?:[ ./-][0-9]{1,2}){2}|(?:[0-9]{1,2}[ ./-]){2}(?:19|20)")
_YEARS: Final = re.compile(rb"(?:(?:19|20)[0-9]{2}[ /-]+)*(?:19|20)[0-9]{2}")
_FRACTION: Final = re.compile(rb"[0-9]\.[0-9]+")
_HEXADECIMAL_GOES_ON: Final = re.compile(rb" [0-9A-Fa-f]{2}(?![A-Za-z0-9])")

_LABELS: Final = context.Vocabulary(
    "phone phones telephone telephones tel tels mobile cell cellphone fax telefax whatsapp landline hotline helpline"
    " switchboard pager desk office sms"
    " telefon telefonnummer mobil handy mobiltelefon rufnummer fernsprecher téléphone tél portable télécopie"
    " teléfono teléfonos móvil celular telefone telemóvel telefono cellulare telefoon mobiel faks"
    " телефон Телефон тел Тел моб Моб факс Факс هاتف טלפון",
    unspaced="电话 電話 手机 手機 传真 携帯 전화 휴대폰",
)
_VERBS: Final = context.Vocabulary(
    "call calls called calling dial dials dialed dialled dialing dialling ring rang reach contact contacts contacted"
    " text texted message messages voicemail answer answers answered answering anrufen appeler appelez llamar llame"
    " ligue chiamare bellen ringen"
)
_OTHER_NUMBERS: Final = context.Vocabulary(
    "isbn issn doi order orders invoice id ids serial version model price usd eur ip port error code codes line"
)
_FILLERS: Final = context.Vocabulary("number numbers no nr num is are at on me us him her them to")
LABELS: Final = frozenset([*_LABELS, *_FILLERS])
"""The words, in lower case, one of which comes last before a number of one group."""

_PLACES: Final = context.Vocabulary("office mobile cell fax home work tel phone landline desk direct")
_PLACE_AFTER: Final = re.compile(rb"[ ,;:(/\\-]{1,3}([A-Za-z]+)")
_LAST_DIGIT: Final = re.compile(rb".*[0-9]", re.DOTALL)
_REACH_BEFORE: Final = 40
_REACH_AFTER: Final = 16


def _has_trunk_prefix(match: re.Match[bytes], number: bytes) -> bool:
    """Whether it is written with what is dialled first: "030 1234 5678", "(020) 7946 0958", "0044 20 7946 0958"."""
    sizes, digits, separators = _sizes(number), digits_of(number), _separators(number)
    if digits.startswith("00"):
        return sizes[0] > 2 and len(sizes) > 2 and _is_international(number[number.index(b"00") + 2 :])
    if digits[0] != "0" or not 2 <= sizes[0] <= 5 or min(sizes) < 2 or len(separators) > 1:
        return False
    if b"." in number and (len(sizes) == 2 or (len(sizes) == 4 and max(sizes) <= 3)):
        return False  # a fraction, or octets
    if set(sizes) == {2} and _HEXADECIMAL_GOES_ON.match(context.after(match, 4, match.end("number"))):
        return False
    return (10 if len(sizes) == 2 else 9) <= len(digits) <= 11 and 2 <= len(sizes) <= 5


def _is_labelled(match: re.Match[bytes], number: bytes) -> bool:
    """Whether a word before it, with no digit between, says that it is a telephone's.

    Without anything that groups the digits, that word must come last but for such as "number is".
    """
    behind = _LAST_DIGIT.sub(b"", context.before(match, _REACH_BEFORE))
    said = context.words(behind)[len(behind) == _REACH_BEFORE :]  # the first may be cut: then it is no word
    if not said or _OTHER_NUMBERS.among(said[-2:]):
        return False
    if len(_sizes(number)) == 1:
        while said and said[-1] in _FILLERS:
            said.pop()
        return _LABELS.among(said[-1:])
    return _LABELS.among(said) or _VERBS.among(context.words(behind.rpartition(b"\n")[2]))


def _is_placed(match: re.Match[bytes], number: bytes, stop: int) -> bool:
    """Whether its digits come in groups, and the next word says that it is a telephone's."""
    place = _PLACE_AFTER.match(context.after(match, _REACH_AFTER, stop))
    return place is not None and place[1].lower() in _PLACES and len(_sizes(number)) > 1


def _could_be_dialled(number: bytes) -> bool:
    """Whether it is no date, list of years or fraction, and no group but the first is a single digit."""
    if _DATE.match(number) or _YEARS.fullmatch(number) or _FRACTION.fullmatch(number):
        return False
    sizes = _sizes(number)
    return sum(sizes) <= MAX_DIGITS and len(sizes) <= 6 and 1 not in sizes[1:] and _is_balanced(number)


def _national(match: re.Match[bytes]) -> Extent | None:
    number = match["number"]
    extent = _extent(match, number) if _could_be_dialled(number) else None
    if extent is None:
        return None
    if _has_trunk_prefix(match, number) or _is_labelled(match, number) or _is_placed(match, number, extent[1]):
        return extent
    return None


INTERNATIONAL: Final = Pattern("phone_international", Kind.PHONE, _INTERNATIONAL, _international, of_numbers=True)
NORTH_AMERICAN: Final = Pattern("phone_north_american", Kind.PHONE, _NORTH_AMERICAN, _north_american, of_numbers=True)
NATIONAL: Final = Pattern("phone_national", Kind.PHONE, _NATIONAL, _national, of_numbers=True)
