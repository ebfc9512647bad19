"""Numbers are found however they are set: digits of every script, spaces, hyphens and other marks of all kinds."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.clean.pii.find import find
from llm_assets.stages.clean.pii.spans import KINDS, Find, Kind
from llm_assets.stages.clean.pii.typography import ascii_equivalents, read_numbers, reading_table
from llm_assets_tests.stages.clean.odd_text import column
from llm_assets_tests.stages.clean.pii.examples import found, only
from llm_assets_tests.stages.clean.pii.planted import PLANTED, surroundings

SCRIPTS = [chr(code) for code in range(0x80, 0x110000) if unicodedata.decimal(chr(code), None) == 0]
"""Zero in each script; the other digits follow it, as Unicode guarantees."""

SETTINGS = {
    " ": "\u00a0\u2002\u2007\u2009\u202f\u3000",
    "-": "\u2010\u2011\u2012\u2013\u2212\uff0d\u30fc",
    ".": "\uff0e\u2024",
    "/": "\uff0f\u2215",
    "(": "\uff08",
    ")": "\uff09",
    "+": "\uff0b",
}
NUMBERS = [Kind.PHONE, Kind.CREDIT_CARD, Kind.US_SSN]


@st.composite
def typeset(draw: st.DrawFn, number: str) -> str:
    """The number with digits of one script, and for each mark a character of its kind or the mark itself."""
    zero = draw(st.sampled_from(["0", *SCRIPTS]))
    chosen = {mark: draw(st.sampled_from([mark, *others])) for mark, others in SETTINGS.items()}
    words = number.split(" ext")
    digits = "".join(chr(ord(zero) + int(sign)) if "0" <= sign <= "9" else chosen.get(sign, sign) for sign in words[0])
    return " ext".join([digits, *words[1:]])


@pytest.mark.parametrize("kind", NUMBERS)
@given(st.data())
def test_planted_numbers_are_found_however_they_are_set(kind: Kind, data: st.DataObject) -> None:
    before, after = data.draw(surroundings), data.draw(surroundings)
    pii = data.draw(PLANTED[kind].flatmap(typeset))
    start = len(f"{before} ".encode())
    wanted = [Find(0, start, start + len(pii.encode()), KINDS.index(kind))]
    assert find(column([f"{before} {pii} {after}"])).finds() == wanted


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("phone", "reception «201–555–0123» for guests"),
        ("phone", "reception «201 555‑0123» for guests"),
        ("phone", "reception «201\u00a0555‑0123»\u00a0for guests"),
        ("phone", "reception–«201–555–0123»"),
        ("phone", "電話：«０３－１２３４－５６７８»（代表）"),
        ("phone", "ＴＥＬ «（０３）１２３４－５６７８»"),
        ("phone", "お問い合わせは«03ー1234ー5678»まで"),
        ("phone", "«＋８１ ３ １２３４ ５６７８»"),
        ("phone", "هاتف: «٠٢٠ ٧٩٤٦ ٠٩٥٨»"),
        ("phone", "تلفن «۰۲۱-۱۲۳۴-۵۶۷۸»\r\n"),
        ("phone", "\u202a«+44 20 7946 0958»\u202c"),
        ("phone", "दूरभाष «०११-२३४५-६७८९»"),
        ("credit_card", "«4111\u20091111\u20091111\u20091111»"),
        ("credit_card", "«٤١١١ ١١١١ ١١١١ ١١١١»"),
        ("us_ssn", "«123‑45‑6789»"),
        ("us_ssn", "SSN «123\u202f45\u202f6789»"),
        ("iban", "«GB82\u00a0WEST\u00a01234\u00a05698\u00a07654\u00a032»"),
        ("iban", "«GB82‑WEST‑1234‑5698‑7654‑32»"),
        ("ip", "host «９３．１８４．２１６．３４» up"),
    ],
)
def test_numbers_as_they_are_set(kind: str, text: str) -> None:
    only(kind, text)


@pytest.mark.parametrize(
    "text",
    [
        *[
            "2010–2012, 10 000 – 20 000",
            "pages 201–555",
            "٢٠٢٤-٠١-٣١ ١٢:٠٠",
            "３．１４１５９２６５３５",
            "１２３４５６７",
        ],
        *["version\u00a012.34.56.78", "\n12.10.3.1.\u00a0Preparations", "第１２３４５６７８号"],
        *["4111–1111 1111–1111", "二〇一 五五五 〇一二三"],
    ],
)
def test_what_is_no_number_of_a_person(text: str) -> None:
    assert found(text) == []


def test_the_table_is_unicodes() -> None:
    table = ascii_equivalents()
    for zero in SCRIPTS:
        assert [table[chr(ord(zero) + digit)] for digit in range(10)] == list("0123456789")
    for character, equivalent in table.items():
        compatible = unicodedata.normalize("NFKC", character)
        assert compatible in (equivalent, character) or unicodedata.category(character) in ("Zs", "Pd", "Lm"), character
        assert reading_table()[ord(character)] == ord(equivalent)


@given(st.text(st.sampled_from("0１٢ -–．（)+é中\u00a0aZ"), max_size=300), st.integers(0, 300))
def test_places_of_a_reading_are_those_of_the_text(text: str, place: int) -> None:
    encoded = text.encode()
    position = len(text[:place].encode())
    reading = read_numbers(encoded, position)
    if reading is None:
        return
    assert reading.position(reading.offset(position)) == position
    for given_character, read_as in zip(encoded[reading.low :].decode(), reading.text.decode(), strict=False):
        assert given_character == read_as or ascii_equivalents()[given_character] == read_as
    assert reading.position(len(reading.text)) == reading.low + len(reading.given.encode())
