"""Lists from files to labels, and texts made to be slow."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from llm_assets.stages.clean.blocklist.blocklists import LABELS_TYPE, Blocklists, labels
from llm_assets.stages.clean.blocklist.entries import BlocklistError
from llm_assets.stages.clean.blocklist.parameters import Blocklist
from llm_assets_tests.stages.clean.odd_text import column


@pytest.fixture
def lists(tmp_path: Path) -> list[Blocklist]:
    (tmp_path / "words.txt").write_text("bad\nvery bad\n", "utf-8")
    (tmp_path / "domains.txt").write_text("bad.com\nworse.org/x\nb\u00fccher.de\n", "utf-8")
    words, domains = str(tmp_path / "words.txt"), str(tmp_path / "domains.txt")
    return [
        Blocklist(name="words", words=words, max_hits=1),
        Blocklist(name="both", words=words, domains=domains, action="drop"),
        Blocklist(name="sites", domains=domains, max_hits=1, action="drop"),
    ]


def opened(lists: list[Blocklist]) -> Blocklists:
    return Blocklists.of(lists, "NFC", {uri: Path(uri).read_bytes() for each in lists for uri in each.files})


TEXTS = ["good", "very bad", "Bad.com and worse.org/x/y", "see worse.org"]


def test_hits_are_counted_in_text_and_url(lists: list[Blocklist]) -> None:
    blocklists = opened(lists)
    urls = pa.array(["http://x.bad.com/", None, "https://worse.org/x", "bu\u0308cher.de"], pa.large_string())
    assert blocklists.hits(column(TEXTS), None).tolist() == [[0, 0, 0], [2, 2, 0], [1, 3, 2], [0, 0, 0]]
    assert blocklists.hits(column(TEXTS), urls).tolist() == [[0, 1, 1], [2, 2, 0], [1, 4, 3], [0, 1, 1]]


def test_documents_do_not_depend_on_their_batch(lists: list[Blocklist]) -> None:
    blocklists = opened(lists)
    together = blocklists.hits(column(TEXTS, 2, 2), column(TEXTS[::-1], 1))
    for number, text in enumerate(TEXTS):
        alone = blocklists.hits(column([text]), column([TEXTS[::-1][number]]))
        assert alone.tolist() == [together[number].tolist()]


def test_no_documents(lists: list[Blocklist]) -> None:
    hits = opened(lists).hits(column([]), column([]))
    assert hits.shape == (0, 3)
    assert labels(lists, hits).type == LABELS_TYPE


def test_urls_are_one_a_document(lists: list[Blocklist]) -> None:
    with pytest.raises(ValueError, match="1 URLs for 4 texts"):
        opened(lists).hits(column(TEXTS), column(["x"]))


def test_labels_follow_from_hits(lists: list[Blocklist]) -> None:
    hits = np.array([[0, 0, 0], [1, 1, 1], [2, 0, 2]], np.int64)
    assert labels(lists, hits).to_pylist() == [[], ["both"], ["words", "sites"]]


def test_without_lists_nothing_is_hit() -> None:
    hits = Blocklists.of([], "none", {}).hits(column(TEXTS), None)
    assert labels([], hits).to_pylist() == [[], [], [], []]


def test_lists_that_cannot_be_told_apart_are_refused(lists: list[Blocklist]) -> None:
    with pytest.raises(ValueError, match="two blocklists are called words"):
        opened([*lists, lists[0]])
    with pytest.raises(ValueError, match="65 blocklists"):
        opened([lists[0].model_copy(update={"name": f"n{number}"}) for number in range(65)])
    with pytest.raises(ValueError, match="neither a file"):
        Blocklist(name="empty")


def test_a_bad_line_names_the_file(lists: list[Blocklist]) -> None:
    Path(str(lists[2].domains)).write_text("good.com\nno host!\n", "utf-8")
    with pytest.raises(BlocklistError, match=r"domains\.txt, line 2"):
        opened(lists)


@pytest.mark.parametrize(
    "piece", ["a", "a\n", ".", "/", "a.", "bad.com/", "//", "bad ", "@", "-", "bad.com/?", ".com", "中.", "://bad"]
)
def test_hostile_text_takes_time_in_proportion(lists: list[Blocklist], piece: str) -> None:
    blocklists = opened(lists)
    blocklists.hits(column(TEXTS), column(TEXTS))
    sizes = (300_000, 1_200_000)
    texts = [column([piece * (size // len(piece))]) for size in sizes]
    small, large = (min(_seconds(blocklists, text) for _ in range(3)) for text in texts)
    assert large < 3 * 4 * small + 0.02


def _seconds(blocklists: Blocklists, texts: pa.LargeStringArray) -> float:
    start = time.thread_time()
    blocklists.hits(texts, texts)
    return time.thread_time() - start


def test_the_largest_text_is_searched(lists: list[Blocklist]) -> None:
    texts = ["a" * 10_000_000, "a\n" * 1_000_000, "." * 10_000_000 + "bad.com", "bad.com" + "/" * 10_000_000]
    assert opened(lists).hits(column(texts), None)[:, 2].tolist() == [0, 0, 1, 1]
