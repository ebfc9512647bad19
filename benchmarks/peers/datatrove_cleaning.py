"""datatrove's four quality filters over a file of documents: what each says of every document, and what it cost.

Every filter gets every document, since a document that another one dropped is measured here as well; what a chain of
the four would cost, in which a dropped document goes no further, is added up beside it. The filters come in the order
that suits datatrove: the three that split a text into words share its cache of the last texts.

The job names the `corpus` (jsonl.zst with `id` and `text`), `words` (`default`: spaCy's blank English pipeline, for
sentences too, or `white space`: `str.split`, with sentences counted by the marks that end them) and `marks`: the
characters `terminal` and `closing`. It may name `symbols`, characters that then take the place of datatrove's own list
of what makes no word. `c4_documents` is the C4 filter with all that it does to lines switched off.
`work/verdicts.jsonl` holds `id`, `verdicts` by filter (the reason to drop it in a list, or an empty one) and, where
the C4 filter keeps the document, its `c4_text`.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import zstandard
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)
from datatrove.utils.logging import logger

from benchmarks.inside import Stopwatch, contend
from benchmarks.peers.sentences import sentence_counter

CHAIN = ("gopher_quality", "gopher_repetition", "fineweb", "c4_documents")
_CACHED_TEXTS = 5  # as many as datatrove's own splitter keeps


def split_cheaply(terminal: str, closing: str) -> None:
    """Have the filters split words at white space, and count sentences by their marks, instead of asking spaCy."""
    count = sentence_counter(terminal, closing)

    @lru_cache(_CACHED_TEXTS)
    def words(text: str, language: str) -> list[str]:
        return text.split()

    def sentences(text: str, language: str) -> Sequence[int]:
        return range(count(text))

    for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter):
        module.split_into_words = words
    c4_filters.split_into_sentences = sentences


def _filters() -> dict[str, Any]:
    documents_alone = C4QualityFilter(
        remove_citations=False,
        filter_no_terminal_punct=False,
        min_words_per_line=-1,
        max_word_length=-1,
        filter_javascript=False,
        filter_policy=False,
    )
    return {
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "fineweb": FineWebQualityFilter(),
        "c4_documents": documents_alone,
        "c4": C4QualityFilter(),
    }


def _documents(path: Path) -> Iterator[dict[str, str]]:
    with zstandard.open(path, "rb") as stream:
        yield from map(json.loads, io.BufferedReader(stream))


def _verdict(one: Any, document: Document) -> list[str]:
    try:
        verdict = one.filter(document)
    except ZeroDivisionError:  # a text without words
        return ["no words"]
    return [] if verdict is True else [verdict[1]]


def _judge(record: Mapping[str, str], filters: Mapping[str, Any], stopwatch: Stopwatch) -> dict[str, Any]:
    verdicts: dict[str, list[str]] = {}
    row: dict[str, Any] = {"id": record["id"], "verdicts": verdicts}
    dropped = False
    for name, one in filters.items():
        document = Document(text=record["text"], id=record["id"])
        begin = time.process_time()
        verdicts[name] = _verdict(one, document)
        spent = time.process_time() - begin
        stopwatch.add(name, spent)
        if name in CHAIN:
            stopwatch.add("chain", 0 if dropped else spent)
            dropped = dropped or bool(verdicts[name])
        if name == "c4" and not verdicts[name]:
            row["c4_text"] = document.text
    return row


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    logger.remove()
    if job["words"] == "white space":
        split_cheaply(**job["marks"])
    if "symbols" in job:
        gopher_quality_filter.PUNCTUATION_SET = frozenset(job["symbols"])
    filters = _filters()
    for record in _documents(Path(job["warm_up"])):
        _judge(record, filters, Stopwatch())
    stopwatch = Stopwatch()
    with (Path(job["work"]) / "verdicts.jsonl").open("w") as verdicts:
        for record in _documents(Path(job["corpus"])):
            verdicts.write(json.dumps(_judge(record, filters, stopwatch)) + "\n")
    return stopwatch.report()


if __name__ == "__main__":
    contend(_run, ["datatrove", "spacy"])
