"""Domains and URLs against a plain search of every stretch of text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.blocklist.automaton import CHUNK
from llm_assets.stages.clean.blocklist.domains import build_addresses, count_addresses
from llm_assets.stages.clean.blocklist.entries import Address, ListFile
from llm_assets.stages.clean.blocklist.folding import folding
from llm_assets.stages.clean.texts import text_buffers
from llm_assets_tests.stages.clean.blocklist.plain_matching import plain_addresses, plain_url
from llm_assets_tests.stages.clean.odd_text import column, odd_text

_SIGNS = [
    *[".", ".", ".", "/", "/", "//", "://", ":", ":80", "-", "@", "?", "#", "&", "=", "_", ",", ")", '"', "\\/"],
    *[" ", "\n", "\x00", "。", "\u3000", "é", "ß", "İ", "中", "😀"],
]
_NAMES = ["a", "b", "A", "ab", "com", "COM", "中", "文.a", "ss", "a.b", "b.com", "a.b.com", "http", "x\u200d"]
_text = st.lists(st.sampled_from(_SIGNS) | st.sampled_from(_NAMES), max_size=16).map("".join)
_hosts = ["com", "b.com", "a.b.com", "a.b", "b", "b.a", "中.com", "文.a", "ss.com", "a-b.a", "é.a"]
_paths = ["", "", "/a", "/a/b", "/A", "/中", "?a=b", "/a?a", "/a.", "/a/b/com"]
_address = st.builds(Address, st.sampled_from(_hosts), st.sampled_from(_paths))
_lists = st.lists(st.lists(_address, max_size=6, unique=True), min_size=1, max_size=2)


def _count(texts: list[str], lists: list[list[Address]], are_urls: bool = False) -> list[list[int]]:
    hits = np.zeros((len(texts), len(lists)), np.int64)
    count_addresses(*text_buffers(column(texts, 1, 1)), build_addresses(lists), folding(), are_urls, hits)
    return hits.tolist()


def _hits(text: str, entry: str, are_urls: bool = False) -> int:
    return _count([text], [ListFile("list", entry.encode()).addresses("NFC")], are_urls)[0][0]


@example(["comcom//\ncom", "//\r\ncom"], [[Address("com", "")]])
@given(st.lists(_text | odd_text.map(lambda text: text[:60]), max_size=4), _lists)
def test_finds_what_a_plain_search_finds(texts: list[str], lists: list[list[Address]]) -> None:
    assert _count(texts, lists) == [[plain_addresses(text, entries) for entries in lists] for text in texts]


@settings(max_examples=300)
@given(st.data(), st.lists(_address, min_size=1, max_size=4, unique=True))
def test_finds_addresses_among_others(data: st.DataObject, entries: list[Address]) -> None:
    entry, sign, name = st.sampled_from(entries), st.sampled_from(["", *_SIGNS]), st.sampled_from(["", *_NAMES])
    pieces = data.draw(st.lists(st.tuples(name, sign, sign, entry, sign, sign, name), min_size=1, max_size=3))
    lists = [entries, entries[1:]]
    text = "".join(part if isinstance(part, str) else part.host + part.path for piece in pieces for part in piece)
    assert _count([text], lists) == [[plain_addresses(text, entries) for entries in lists]]


@given(st.sampled_from(["", "http://", "//", "x://b@", "a:b@"]), st.sampled_from(_hosts), _text, _lists)
def test_a_url_has_its_own_host_only(start: str, host: str, end: str, lists: list[list[Address]]) -> None:
    for url in (start + host + end, start + end):
        assert _count([url], lists, are_urls=True) == [[plain_url(url, entries) for entries in lists]]


@pytest.mark.parametrize(
    "text",
    [
        *[
            "example.com",
            "see example.com.",
            "(EXAMPLE.com)",
            "www.example.com",
            "a.b.example.com/x",
            "访问example.com网站",
        ],
        *[
            "http://example.com",
            "https://user:pw@example.com:8080/",
            "mail joe@example.com",
            "https:\\/\\/example.com\\/",
        ],
        *["example.com./", "[x](http://example.com/bad)", "example.com, and", '"example.com"', "example.com--which"],
    ],
)
def test_a_domain_is_found(text: str) -> None:
    assert _hits(text, "example.com") == 1


@pytest.mark.parametrize(
    "text",
    [
        *["notexample.com", "not-example.com", "example.com.cn", "example.com-x", "example.community", "examplexcom"],
        *["http://en.wiki.org/wiki/Example.com", "example.com@other.org", "example. com", "src/example.com", ""],
    ],
)
def test_no_domain_is_found(text: str) -> None:
    assert _hits(text, "example.com") == 0


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("http://example.com/bad", 1),
        ("http://www.example.com:443/bad/x?y#z", 1),
        ("(see example.com/bad). **example.com/bad** example.com/bad?q", 3),
        ("example.com/badly example.com/bad.html example.com/Bad example.com/bad-x example.com", 0),
        ("example.com/x/bad", 0),
    ],
)
def test_a_path_ends_with_a_segment(text: str, hits: int) -> None:
    assert _hits(text, "example.com/bad/") == hits


def test_every_entry_above_an_address_is_a_hit() -> None:
    text = "http://a.example.com/x/y"
    assert _hits(text, "example.com\na.example.com\nexample.com/x\na.example.com/x/y\nexample.com/y") == 4


def test_a_top_level_domain_needs_a_host_below_it() -> None:
    assert _hits("xxx is xxx: see foo.xxx, http://xxx/", "xxx") == 2
    assert _hits("xxx", "xxx", are_urls=True) == 1
    assert _hits("http://\nxxx //\r\nxxx", "xxx") == 0  # an address ends with its line


@pytest.mark.parametrize("text", ["http://bücher.example", "HTTP://XN--BCHER-KVA.EXAMPLE/", "BÜCHER.example"])
@pytest.mark.parametrize("entry", ["Bücher.example", "xn--bcher-kva.example"])
def test_an_international_name_is_found_in_both_spellings(text: str, entry: str) -> None:
    assert _hits(text, entry) == 1


@pytest.mark.parametrize(
    ("url", "hits"),
    [
        *[("https://www.bad.com/x", 1), ("bad.com", 1), ("//bad.com:80", 1), ("http://me@bad.com", 1)],
        *[("https://web.archive.org/web/http://bad.com/", 0), ("https://x.org/?u=bad.com", 0)],
        *[("http://bad.com@x.org/", 0), ("x.org#//bad.com", 0), ("", 0)],
    ],
)
def test_a_url_is_not_searched_beyond_its_host(url: str, hits: int) -> None:
    assert _hits(url, "bad.com", are_urls=True) == hits


def test_a_host_may_lie_across_what_is_read_at_a_time() -> None:
    entries = [Address("a.b.com", ""), Address("a.b.com", "/x")]
    texts = ["," * before + "a.b.com/x ," * 2 for before in range(CHUNK - 16, CHUNK + 2)]
    assert _count(texts, [entries]) == [[4]] * len(texts)
    texts = ["/" + "-" * before + "." + "a.b.com" for before in range(CHUNK - 16, CHUNK + 2)]  # in a path
    assert _count(texts, [entries]) == [[0]] * len(texts)
