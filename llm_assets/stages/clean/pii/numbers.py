"""How payment cards, US social security numbers and IBANs are written.

Guarantees that each has the check digits, ranges and lengths that its issuer uses. A number that is written like
many others needs a word beside it that says what it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from llm_assets.stages.clean.pii import context
from llm_assets.stages.clean.pii.countries import IBAN_LENGTHS
from llm_assets.stages.clean.pii.pattern import Extent, Pattern
from llm_assets.stages.clean.pii.spans import Kind

_NOT_WITHIN: Final = rb"(?<![A-Za-z0-9_.+])(?<![0-9],)(?<![A-Za-z0-9_][-/])"
_NOT_BEFORE: Final = rb"(?![A-Za-z0-9_]|[.,-][0-9])"


@dataclass(frozen=True)
class _Issuer:
    """Card numbers that begin with `first` to `last` and have one of these numbers of digits.

    `common`: so do many other numbers that are no cards, by the sheer size of the range.
    """

    first: str
    last: str
    lengths: frozenset[int]
    common: bool = False

    def issues(self, digits: str) -> bool:
        return self.first <= digits[: len(self.first)] <= self.last and len(digits) in self.lengths


def _issuer(first: str, last: str, lengths: str, common: bool = False) -> _Issuer:
    return _Issuer(first, last, frozenset(map(int, lengths.split())), common)


# Issuer identification numbers (ISO/IEC 7812) as the card schemes publish their ranges.
_ISSUERS: Final = (
    _issuer("4", "4", "16"),  # Visa
    _issuer("4", "4", "13 19", common=True),
    _issuer("51", "55", "16"),  # Mastercard
    _issuer("2221", "2720", "16"),
    _issuer("34", "34", "15"),  # American Express
    _issuer("37", "37", "15"),
    _issuer("300", "305", "14 16"),  # Diners Club
    _issuer("3095", "3095", "14 16"),
    _issuer("36", "36", "14 16"),
    _issuer("38", "39", "14 16"),
    _issuer("3528", "3589", "16"),  # JCB
    _issuer("3528", "3589", "17 18 19", common=True),
    _issuer("35", "35", "16", common=True),
    _issuer("1800", "1800", "15", common=True),
    _issuer("2131", "2131", "15", common=True),
    _issuer("6011", "6011", "16 19"),  # Discover
    _issuer("644", "659", "16 19"),
    _issuer("62", "62", "16 17 18 19"),  # UnionPay
    _issuer("81", "81", "16 17 18 19", common=True),
    _issuer("2200", "2204", "16"),  # Mir
    _issuer("9792", "9792", "16"),  # Troy
    _issuer("50", "50", "12 13 14 15 16 17 18 19", common=True),  # Maestro, RuPay, Verve
    _issuer("56", "58", "12 13 14 15 16 17 18 19", common=True),
    _issuer("60", "69", "12 13 14 15 16 17 18 19", common=True),
    _issuer("0604", "0604", "12 13 14 15 16 17 18 19", common=True),
)
_CARD: Final = re.compile(
    rb"%b(?:"
    rb"[0-9]{12,19}+"
    rb"|[0-9]{4}(?P<by>[ -])[0-9]{4}(?P=by)[0-9]{4}(?P=by)[0-9]{4}(?:(?P=by)[0-9]{3})?+"
    rb"|[0-9]{4}(?P<of>[ -])[0-9]{6}(?P=of)[0-9]{4,5}+"
    rb")%b(?!(?:(?P=by)|(?P=of))[0-9])" % (_NOT_WITHIN, _NOT_BEFORE)
)
_CARD_WORDS: Final = context.Vocabulary(
    "card cards cc credit debit visa mastercard maestro amex diners discover jcb rupay unionpay"
    " karte kreditkarte kartennummer carte tarjeta cartão carta kaart karta карта карты карту",
    unspaced="卡号 卡號 カード",
)
_FOUR_DIGITS_BEFORE: Final = re.compile(rb"[0-9]{4}[ -]\Z")
_NO_DIGITS: Final = bytes(byte for byte in range(256) if not 0x30 <= byte <= 0x39)


def digits_of(text: bytes) -> str:
    """The digits in a text."""
    return text.translate(None, _NO_DIGITS).decode()


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    total = sum(map(int, digits[-1::-2])) + sum(value - 9 if value > 9 else value for value in doubled)
    return total % 10 == 0


def _card(match: re.Match[bytes]) -> Extent | None:
    digits = digits_of(match[0])
    issuers = [issuer for issuer in _ISSUERS if issuer.issues(digits)]
    if not issuers or len(set(digits)) == 1 or not passes_luhn(digits):
        return None
    if all(issuer.common for issuer in issuers) and not _CARD_WORDS.among(context.words(context.before(match, 48))):
        return None
    return None if _FOUR_DIGITS_BEFORE.search(context.before(match, 8)) and match["by"] else match.span()


_SSN: Final = re.compile(
    rb"%b(?:[0-9]{9}|(?P<area>[0-9]{3})(?P<by>[ -])(?P<group>[0-9]{2})(?P=by)(?P<serial>[0-9]{4}))%b"
    % (_NOT_WITHIN, _NOT_BEFORE)
)
_SSN_WORD: Final = re.compile(rb"(?i)(?<![a-z])(?:ssns?|ss#|social[ -]security|soc\.? sec)(?![a-z])")


def _ssn(match: re.Match[bytes]) -> Extent | None:
    """A number of the Social Security Administration: no area 000, 666 or 9xx, no group 00, no serial 0000.

    With hyphens it is known by its form; with spaces or without, a word before it has to say so.
    """
    digits = digits_of(match[0])
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in ("000", "666") or area >= "900" or group == "00" or serial == "0000":
        return None
    if match["by"] != b"-" and not _SSN_WORD.search(context.before(match, 40)):
        return None
    return match.span()


_IBAN: Final = re.compile(
    rb"(?<![A-Za-z0-9_])(?P<country>[A-Za-z]{2})[0-9]{2}"
    rb"(?:[A-Za-z0-9]{11,29}+|(?P<by>[ -])[A-Za-z0-9]{4}(?:(?P=by)[A-Za-z0-9]{4}){1,6}+(?:(?P=by)[A-Za-z0-9]{1,3}+)?)"
)


def _iban(match: re.Match[bytes]) -> Extent | None:
    """As many characters as the country's IBANs have, if their remainder is right (ISO 13616, ISO 7064 mod 97-10).

    All letters are capitals or none is.
    """
    length = IBAN_LENGTHS.get(match["country"].decode().upper())
    if length is None:
        return None
    separators = (length - 1) // 4 * len(match["by"] or b"")
    start, stop = match.start(), match.start() + length + separators
    if stop > match.end() or bytes(match.string[stop : stop + 1]).isalnum():
        return None
    written = bytes(match.string[start:stop]).replace(match["by"] or b" ", b"")
    if len(written) != length or not (written.isupper() or written.islower()):
        return None
    number = int("".join(str(int(character, 36)) for character in (written[4:] + written[:4]).decode()))
    return (start, stop) if number % 97 == 1 else None


CARD: Final = Pattern("credit_card", Kind.CREDIT_CARD, _CARD, _card, of_numbers=True)
SSN: Final = Pattern("us_ssn", Kind.US_SSN, _SSN, _ssn, of_numbers=True)
IBAN: Final = Pattern("iban", Kind.IBAN, _IBAN, _iban, of_numbers=True)
