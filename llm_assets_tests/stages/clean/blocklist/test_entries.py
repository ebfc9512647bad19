"""Files of lists: what is an entry, and what is an error, told with file and line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.clean.blocklist.entries import Address, BlocklistError, ListFile
from llm_assets.stages.clean.blocklist.folding import folding, is_word_character, units


def test_words_are_casefolded_and_comments_left_out() -> None:
    data = "\ufeff# title\r\n\r\n Big\u3000 Bad  # why\nC#\nStraße\n".encode()
    assert ListFile("list", data).words("NFC") == ["big bad", "c#", "strasse"]


def test_words_are_normalised() -> None:
    data = "e\u0301\nﬁ".encode()
    assert ListFile("list", data).words("NFC") == ["é", "fi"]  # the ligature is casefolded
    assert ListFile("list", "²".encode()).words("NFKC") == ["2"]
    assert ListFile("list", data).words("none")[0] == "e\u0301"


def test_addresses_are_hosts_with_paths() -> None:
    data = b"Example.COM.\n*.a.org\n.b.org # all\nhttps://c.org/X/y/?q#f\nhttp://d.org/\n10.0.0.1\n"
    expected = [
        *[("example.com", ""), ("a.org", ""), ("b.org", ""), ("c.org", "/X/y/?q"), ("d.org", ""), ("10.0.0.1", "")]
    ]
    assert ListFile("list", data).addresses("NFC") == [Address(*each) for each in expected]


@pytest.mark.parametrize("host", ["हिन्दी.भारत", "ไทย.com", "例え.jp"])
def test_addresses_may_be_of_any_script(host: str) -> None:
    assert Address(host, "") in ListFile("list", host.encode()).addresses("NFC")


@pytest.mark.parametrize("line", [b"a\tb", b"\xff\xfe", b"x" * 1001, b"nul\x00"])
def test_a_bad_word_names_file_and_line(line: bytes) -> None:
    with pytest.raises(BlocklistError, match=r"words\.txt, line 3"):
        ListFile("words.txt", b"# one\ngood\n" + line + b"\nfine").words("NFC")


@pytest.mark.parametrize(
    "line",
    [
        b"two words",
        b"a..b",
        b"http://",
        b"exa!mple.com",
        b"x" * 64 + b".com",
        b"a.com:80",
        b"xn--\xc3\xbc-.de",
        b"/path",
    ],
)
def test_a_bad_address_names_file_and_line(line: bytes) -> None:
    with pytest.raises(BlocklistError, match=r"domains\.txt, line 3"):
        ListFile("domains.txt", b"# one\ngood.com\n" + line + b"\nfine.com").addresses("NFC")


def test_an_empty_file_is_an_error() -> None:
    with pytest.raises(BlocklistError, match="list has no entry"):
        ListFile("list", b"# nothing\n\n").words("NFC")


def test_folding_keeps_the_class_of_every_character() -> None:
    for code in range(0x110000):
        folded = chr(code).casefold()
        if folded != chr(code):
            assert {is_word_character(each) for each in folded} == {is_word_character(chr(code))}, hex(code)
            assert not folded.isspace()


def test_folding_is_that_of_python() -> None:
    flags, indices, starts, data = folding()
    for code in range(0x110000):
        character = chr(code)
        if flags[code] & 4:
            first, beyond = starts[indices[code]], starts[indices[code] + 1]
            assert bytes(data[first:beyond]).decode() == character.casefold()
        else:
            assert character.casefold() == character


@given(st.text())
def test_units_lose_nothing_but_the_kind_of_white_space(text: str) -> None:
    assert "".join(units(text)).split() == text.split()
