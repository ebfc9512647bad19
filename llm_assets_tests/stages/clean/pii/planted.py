"""PII of every kind made up, none of it anyone's; text to hide it in; and what merely looks like it."""

from __future__ import annotations

import base64
import json
import string

from hypothesis import strategies as st

from llm_assets.stages.clean.pii.countries import CALLING_CODES, IBAN_LENGTHS
from llm_assets.stages.clean.pii.spans import Kind

ALPHANUMERIC = string.ascii_letters + string.digits
UPPER_ALPHANUMERIC = string.ascii_uppercase + string.digits


def luhn_digit(payload: str) -> str:
    """The check digit, found by trying: the sum of the digits, every second one doubled, is a multiple of ten."""
    for digit in "0123456789":
        total = 0
        for place, character in enumerate(reversed(payload + digit)):
            value = int(character) * (2 if place % 2 else 1)
            total += value // 10 + value % 10
        if total % 10 == 0:
            return digit
    raise AssertionError(payload)


def iban_of(country: str, account: str) -> str:
    """The IBAN of an account: the check digits that leave a remainder of 1."""
    for check in range(2, 99):
        number = "".join(str(int(character, 36)) for character in f"{account}{country}{check:02}")
        if int(number) % 97 == 1:
            return f"{country}{check:02}{account}"
    raise AssertionError(account)


def random_word(alphabet: str, size: int) -> st.SearchStrategy[str]:
    """A word of that many characters, up to 16 of them different ones, and even the simplest not the alphabet."""
    some = min(len(alphabet), max(1, size // 2), 16)
    shuffled = st.permutations(sorted(alphabet, key=lambda letter: ord(letter) * 37 % 101)).map(
        lambda letters: "".join(letters[:some])
    )
    rest = st.text(alphabet, min_size=size - some, max_size=size - some)
    return st.tuples(shuffled, rest).map("".join)


@st.composite
def emails(draw: st.DrawFn) -> str:
    local = draw(st.from_regex(r"[a-zA-Z0-9éß](?:[._+-]?[a-zA-Z0-9éЖ]){0,20}", fullmatch=True))
    domain = draw(st.from_regex(r"[a-z0-9](?:-?[a-z0-9ü]){0,12}(?:\.[a-z0-9]{1,8}){0,2}", fullmatch=True))
    top = draw(st.sampled_from(["com", "de", "ORG", "museum", "co.uk", "рф", "xn--p1ai"]))
    return f"{local}0@{domain}.{top}"


@st.composite
def addresses_v4(draw: st.DrawFn) -> str:
    first = draw(st.sampled_from([8, 23, 64, 99, 101, 150, 191, 199, 205, 223]))
    rest = draw(st.tuples(st.integers(100, 255), st.integers(30, 255), st.integers(0, 255)))
    return ".".join(map(str, (first, *rest)))


@st.composite
def addresses_v6(draw: st.DrawFn) -> str:
    groups = draw(st.lists(st.integers(0, 0xFFFF).map("{:x}".format), min_size=7, max_size=7))
    full = ":".join(["2a0b", *groups])
    short = f"2a0b:{groups[0]}::{groups[1]}"
    return draw(st.sampled_from([full, short, full.upper(), "2a0b::"]))


@st.composite
def cards(draw: st.DrawFn) -> str:
    prefix, size = draw(
        st.sampled_from([("4", 16), ("51", 16), ("2221", 16), ("37", 15), ("36", 14), ("3530", 16), ("6011", 16)])
    )
    payload = prefix + draw(st.text(string.digits, min_size=size - 1 - len(prefix), max_size=size - 1 - len(prefix)))
    number = payload + luhn_digit(payload)
    by = draw(st.sampled_from(["", " ", "-", "\u00a0"]))
    cuts = (4, 8, 12) if size == 16 else (4, 10)
    return by.join(number[start:stop] for start, stop in zip((0, *cuts), (*cuts, size), strict=True))


@st.composite
def social_security_numbers(draw: st.DrawFn) -> str:
    area = draw(st.integers(1, 899).filter(lambda number: number != 666))
    return f"{area:03}-{draw(st.integers(1, 99)):02}-{draw(st.integers(1, 9999)):04}"


@st.composite
def ibans(draw: st.DrawFn) -> str:
    country, size = draw(st.sampled_from(sorted(IBAN_LENGTHS.items())))
    number = iban_of(country, draw(st.text(UPPER_ALPHANUMERIC, min_size=size - 4, max_size=size - 4)))
    if draw(st.booleans()):
        return number
    return draw(st.sampled_from([" ", "\u00a0"])).join(number[start : start + 4] for start in range(0, size, 4))


@st.composite
def international_phones(draw: st.DrawFn) -> str:
    code, (shortest, longest) = draw(st.sampled_from(sorted(CALLING_CODES.items())))
    size = draw(st.integers(max(shortest, 8 - len(code)), longest))
    digits = draw(st.text("23456789", min_size=size, max_size=size))
    cut = draw(st.integers(2, 4))
    by = draw(st.sampled_from([" ", "-", " (0)", "\u2011"]))
    return f"+{code}{by}{digits[:cut]} {digits[cut:]}" if len(digits[cut:]) > 1 else f"+{code} {digits}"


@st.composite
def american_phones(draw: st.DrawFn) -> str:
    area, exchange = draw(st.integers(200, 999)), draw(st.integers(200, 999))
    form = draw(st.sampled_from(["({}) {}-{}", "({}){}-{}", "{}-{}-{}", "{}.{}.{}", "1-{}-{}-{}", "{}-{}-{} ext. 12"]))
    return form.format(area, exchange, f"{draw(st.integers(0, 9999)):04}")


@st.composite
def json_web_tokens(draw: st.DrawFn) -> str:
    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    name = draw(st.text(ALPHANUMERIC, max_size=20))
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': name})}.{draw(random_word(ALPHANUMERIC, 43))}"


@st.composite
def private_keys(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["", "RSA ", "OPENSSH ", "EC "]))
    lines = draw(st.lists(random_word(ALPHANUMERIC + "+/", 64), min_size=1, max_size=4))
    end = draw(st.sampled_from(["\n", "\r\n", "\\n"]))
    return end.join([f"-----BEGIN {kind}PRIVATE KEY-----", *lines, f"-----END {kind}PRIVATE KEY-----"])


# Prefixes are split, or scanners for leaked keys would stop at this file.
_TOKENS = [
    ("AK" + "IA", string.ascii_uppercase + "234567", 16),
    ("gh" + "p_", ALPHANUMERIC, 36),
    ("xox" + "b-", string.digits + "-abc", 40),
    ("sk_" + "live_", ALPHANUMERIC, 24),
    ("AI" + "za", ALPHANUMERIC + "_-", 34),
    ("sk-" + "proj-", ALPHANUMERIC + "_-", 60),
    ("h" + "f_", ALPHANUMERIC, 34),
    ("glp" + "at-", ALPHANUMERIC, 20),
]


@st.composite
def tokens(draw: st.DrawFn) -> str:
    prefix, alphabet, size = draw(st.sampled_from(_TOKENS))
    return prefix + draw(random_word(alphabet, size)) + ("9" if prefix.startswith("AI") else "")


KEYS = st.one_of(tokens(), json_web_tokens(), private_keys())

PLANTED: dict[Kind, st.SearchStrategy[str]] = {
    Kind.EMAIL: emails(),
    Kind.IP: st.one_of(addresses_v4(), addresses_v6()),
    Kind.PHONE: st.one_of(international_phones(), american_phones()),
    Kind.CREDIT_CARD: cards(),
    Kind.US_SSN: social_security_numbers(),
    Kind.IBAN: ibans(),
    Kind.API_KEY: KEYS,
}
"""Of each kind, some that is known by its form, without a word beside it."""

any_planted = st.one_of(*PLANTED.values())

# Nothing that could be part of a find, or a word that says what a number is.
bystanders = st.one_of(
    st.characters(exclude_categories=["Cs"], min_codepoint=0x0540),
    st.sampled_from([*'\n\t,;!?<>[]{}|*"~^', "\x00", "\x7f", "…", "中文", "أهلا", "👩‍💻", " hello ", " world "]),
)
surroundings = st.lists(bystanders, max_size=12).map("".join)

fragments = st.one_of(
    any_planted,
    surroundings,
    st.sampled_from(
        [
            *[
                "@",
                ".",
                "..",
                "-",
                "--",
                "_",
                "+",
                "'",
                " ",
                "  ",
                "\n",
                ":",
                "::",
                "/",
                "(",
                ")",
                "(0)",
                "=",
                "==",
                "%",
            ],
            *["0", "00", "07", "1", "12", "123", "1234", "12345", "201", "4111", "555", "2024", "999999", "1" * 20],
            *["a", "ab", "é", "ж", "xn--", "com", "de", "git", "example.com", "GB", "DE", "de12", "ffff", "2001:db8"],
            *[
                "phone",
                "Tel.: ",
                "call me at ",
                "fax",
                " office",
                "card ",
                "SSN ",
                "version ",
                "v",
                "ext",
                "x12",
                "isbn ",
            ],
            *["eyJ", "sk-", "AK" + "IA", "gh" + "p_", "-----BEGIN ", "PRIVATE KEY-----", "-----END PRIVATE KEY-----"],
            *["\u00a0", "\u2011", "\u2013", "\u202f", "<EMAIL>", "<PHONE>", "[", "]", "\x00"],
        ]
    ),
    st.text("0123456789 .-/()+", max_size=24),
    st.text("0123456789abcdefABCDEF:.", max_size=24),
    st.text("ab0.@-_+'é", max_size=24),
)
"""PII whole and in pieces, run together so that finds overlap and touch."""

mixtures = st.lists(fragments, max_size=14).map("".join)
