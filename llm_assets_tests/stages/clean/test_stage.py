"""The stage: a row out for every row in, a ledger that balances, and nothing that depends on the batch."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_assets.contract.by_hash import SplitParameters
from llm_assets.contract.stage import Disposition, Stage, StageOutput
from llm_assets.stages.clean.blocklist.entries import BlocklistError
from llm_assets.stages.clean.columns import CLEANED_SCHEMA
from llm_assets.stages.clean.edit.parameters import LineEdits, Repairs
from llm_assets.stages.clean.parameters import CleanParameters, QualityScore
from llm_assets.stages.clean.pii.parameters import PiiParameters
from llm_assets.stages.clean.published_rules import C4, FineWeb, GopherQuality, GopherRepetition
from llm_assets.stages.clean.rules import LengthRule, Range
from llm_assets.stages.clean.stage import CleanStage
from llm_assets.store.ledger import Count, Ledger
from llm_assets_tests.stages.clean.odd_text import odd_text, raw_batch, real_data

GOOD = "There have to be some fifty words with which that sentence passes, and here they stand. " * 5
EASY = CleanParameters(
    length=LengthRule(min_characters=5, max_characters=40),
    gopher_quality=GopherQuality(min_words=3, min_mean_word_length=2, min_stop_words=1, max_symbol_word_ratio=0.4),
)
EVERYTHING = CleanParameters(
    repair=Repairs(mojibake=True, line_breaks=True, control_characters=True, zero_width=True),
    normalise="NFKC",
    lines=LineEdits(citations=True, javascript=True, min_words=1),
    length=LengthRule(min_characters=5, max_characters=400),
    gopher_repetition=GopherRepetition(),
    c4=C4(min_sentences=1),
    fineweb=FineWeb(),
    thresholds={"entropy": Range(min=1.5)},
)
some_texts = st.lists(st.one_of(odd_text, st.just(GOOD)), max_size=8)


def rows_of(output: StageOutput, disposition: Disposition) -> list[dict]:
    return output.rows[disposition].to_pylist() if disposition in output.rows else []


def merged(outputs: list[StageOutput]) -> tuple[list[dict], list[dict], Ledger]:
    kept = [row for output in outputs for row in rows_of(output, Disposition.KEPT)]
    rejected = [row for output in outputs for row in rows_of(output, Disposition.REJECTED)]
    return kept, rejected, sum((output.ledger for output in outputs), Ledger())


def clean(texts: list[str], parameters: CleanParameters | None = None) -> tuple[list[dict], list[dict], Ledger]:
    return merged(list(CleanStage(parameters or CleanParameters()).process([raw_batch(texts)])))


def in_bytes(texts: list[str]) -> Count:
    return Count(len(texts), sum(len(text.encode()) for text in texts))


@settings(deadline=None)  # the kernel may have to be compiled
@given(some_texts, st.sampled_from([CleanParameters(), EASY, CleanParameters(length=None, gopher_quality=None)]))
@example([], EASY)
@example([""], EASY)
@example(["e\u0301e\u0301 to the end", "x"], EASY)
def test_every_row_is_accounted_for(texts: list[str], parameters: CleanParameters) -> None:
    kept, rejected, ledger = clean(texts, parameters)
    records = sorted(row["record"] for row in [*kept, *rejected])
    raw = dict(enumerate(texts))
    assert records == list(raw)
    assert all(row["text"] == unicodedata.normalize("NFC", raw[row["record"]]) for row in [*kept, *rejected])
    assert all(not row["reasons"] for row in kept) and all(row["reasons"] for row in rejected)

    assert ledger.accounted == ledger.incoming == in_bytes(texts)
    assert ledger.kept == in_bytes([raw[row["record"]] for row in kept])
    assert ledger.output == in_bytes([row["text"] for row in kept])
    firsts = Counter(row["reasons"][0]["rule"] for row in rejected)
    assert {name: count.documents for name, count in ledger.dropped.items()} == dict(firsts)
    changed = [row for row in [*kept, *rejected] if row["text"] != raw[row["record"]]]
    assert ledger.edits.get("nfc", Count()).documents == len(changed)


@settings(deadline=None)
@given(some_texts, st.lists(st.integers(0, 8), max_size=3))
def test_cutting_the_batch_changes_nothing(texts: list[str], cuts: list[int]) -> None:
    batch = raw_batch(texts)
    edges = sorted({0, len(texts), *(cut for cut in cuts if cut <= len(texts))})
    pieces = [batch.slice(start, end - start) for start, end in pairwise(edges)]
    for parameters in (EASY, EVERYTHING):
        stage = CleanStage(parameters)
        assert merged(list(stage.process([*pieces, batch.slice(0, 0)]))) == merged(list(stage.process([batch])))


def test_rows_carry_where_they_came_from() -> None:
    batch = raw_batch([GOOD, "short", GOOD + "e\u0301"])
    kept, rejected, _ = merged(list(CleanStage().process([batch])))
    carried = ["doc_id", "id", "metadata", "file", "record", "byte_offset"]
    given_rows = [{name: row[name] for name in carried} for row in batch.to_pylist()]
    assert [{name: row[name] for name in carried} for row in kept] == [given_rows[0], given_rows[2]]
    assert [{name: row[name] for name in carried} for row in rejected] == [given_rows[1]]
    assert kept[1]["text"].endswith("é")
    assert kept[1]["content_hash"] == blake3(kept[1]["text"].encode()).digest()[:16]
    assert kept[1]["statistics"]["characters"] == len(GOOD) + 1


def test_schema_of_both_dispositions() -> None:
    (output,) = CleanStage().process([raw_batch([GOOD, ""])])
    assert set(output.rows) == {Disposition.KEPT, Disposition.REJECTED}
    assert all(batch.schema.equals(CLEANED_SCHEMA) for batch in output.rows.values())
    for batch in output.rows.values():
        batch.validate(full=True)


def test_all_broken_rules_are_told_and_the_first_is_counted() -> None:
    _, (row,), ledger = clean(["# # # ..."])
    assert [(reason["rule"], reason["value"], reason["threshold"]) for reason in row["reasons"]] == [
        ("length.min_characters", 9, 50),
        ("gopher_quality.min_words", 0, 50),
        ("gopher_quality.min_mean_word_length", 0, 3),
        ("gopher_quality.max_symbol_word_ratio.hash_ratio", 0.75, 0.1),
        ("gopher_quality.max_symbol_word_ratio.ellipsis_ratio", 0.25, 0.1),
        ("gopher_quality.max_ellipsis_lines", 1, 0.3),
        ("gopher_quality.min_alphabetic_words", 0, 0.8),
        ("gopher_quality.min_stop_words", 0, 2),
    ]
    assert ledger.dropped == {"length.min_characters": Count(1, 9)}


def test_stop_words_are_normalised_like_the_text() -> None:
    words = ("cafe\u0301", "a\u030a")
    rules = GopherQuality.model_validate(dict.fromkeys(GopherQuality.model_fields) | {"min_stop_words": 2})
    text = "Ett cafe\u0301 eller a\u030a"
    for form in ("NFC", "none"):
        kept, _, _ = clean([text], CleanParameters(normalise=form, stop_words=words, length=None, gopher_quality=rules))
        assert len(kept) == 1


def test_stop_words_by_language() -> None:
    german = "Der Hund und die Katze sind in dem Haus, aber das Pferd ist auf der Weide. " * 5
    texts = [GOOD, german, GOOD + "the", "Le chat est sur la table. " * 12]
    lists = {"de": ["und", "ist", "der"], "en": ["the"], "*": ["est", "la", "sur", "the"]}
    parameters = CleanParameters.model_validate({"stop_words": lists, "gopher_quality": {"min_stop_words": 1}})
    kept, rejected, _ = clean(texts, parameters)
    rows = sorted([*kept, *rejected], key=lambda row: row["record"])
    assert [row["language"] for row in rows] == ["en", "de", "en", "fr"]
    assert [row["statistics"]["stop_words"] for row in rows] == ["the" in GOOD.split(), 3, 1, 3]
    for row, text in zip(rows, texts, strict=True):
        assert row["statistics"]["characters"] == len(text) and row["statistics"]["words"] == len(text.split())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"stop_words": {"de": ["und"]}}, r"no list '\*'"),
        ({"stop_words": {"de": [], "*": ["the"]}}, "stop_words is empty"),
        ({"stop_words": {"de": ["und"], "*": ["the"]}, "language": None}, "language must not be null"),
        ({"stop_words": {"german": ["und"], "*": ["the"]}}, "gives no german"),
        ({"stop_words": ["the", "don't"], "words": "punctuation"}, r"\"don't\" never occurs .* splits it: do n't"),
    ],
)
def test_stop_words_that_cannot_be_counted(parameters: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CleanParameters.model_validate(parameters)


def test_words_at_punctuation_are_what_the_rules_count() -> None:
    text = "The end, said he: of the day; and so be it (it was to be)."
    rules = GopherQuality.model_validate(dict.fromkeys(GopherQuality.model_fields) | {"min_alphabetic_words": 0.8})
    kept, _, _ = clean([text], CleanParameters(length=None, gopher_quality=rules))
    marked = CleanParameters(length=None, gopher_quality=rules, words="punctuation")
    _, (row,), _ = clean([text], marked)
    assert [each["statistics"]["words"] for each in kept] == [15]
    assert row["statistics"]["words"] == 21
    assert row["reasons"] == [{"rule": "gopher_quality.min_alphabetic_words", "value": 15 / 21, "threshold": 0.8}]
    by_language = marked.model_copy(update={"stop_words": {"de": ("und",), "*": ("it",)}})
    _, (row,), _ = clean([text], by_language)
    assert row["statistics"]["words"] == 21


def test_edits_come_in_order_and_are_counted() -> None:
    text = "voilÃ\xa0 le\u200b travail ﬁni.[1]\r\nThis page needs JavaScript.\r\n"
    _, (row,), ledger = clean(
        [text], EVERYTHING.model_copy(update={"lines": LineEdits(citations=True, javascript=True)})
    )
    assert row["text"] == "voilà le travail fini.\n"
    assert {kind: count.documents for kind, count in ledger.edits.items()} == dict.fromkeys(
        ["repair.mojibake", "repair.line_breaks", "repair.zero_width", "nfkc", "lines.citations", "lines.javascript"], 1
    )
    assert row["statistics"]["words"] == 4 and row["statistics"]["javascript"] == 0
    assert ledger.incoming == in_bytes([text]) == ledger.accounted


def test_what_is_found_depends_on_what_is_looked_for() -> None:
    texts = [GOOD + " a@b.com", GOOD]
    parameters = CleanParameters(splits=SplitParameters(shares={"train": 1}, folds=2))
    kept, _, ledger = clean(texts, parameters)
    assert [row["language"] for row in kept] == ["en", "en"] and all(row["language_confidence"] > 0.5 for row in kept)
    assert [row["pii"]["email"] for row in kept] == [1, 0] and kept[0]["text"].endswith("a@b.com")
    assert [(row["split"], row["fold"] in (0, 1), row["shard"]) for row in kept] == [("train", True, None)] * 2
    assert ledger.edits == {}
    kept, _, ledger = clean(texts, CleanParameters(language=None, pii=None))
    assert all(row[name] is None for row in kept for name in ("language", "language_confidence", "pii", "split"))
    kept, _, ledger = clean(texts, CleanParameters(pii=PiiParameters()))
    assert kept[0]["text"].endswith("<EMAIL>") and kept[0]["pii"]["email"] == 1
    assert ledger.edits == {"pii.email": Count(1, 7), "pii.email.spans": Count(1)}


def test_rejected_for_language_and_pii() -> None:
    parameters = CleanParameters.model_validate({"pii": {"email": "drop"}, "language": {"allow": ["en"]}})
    french = "Le chat est sur la table, et il regarde par la fenêtre avec attention. " * 8
    parameters = parameters.model_copy(update={"gopher_quality": None})
    kept, rejected, ledger = clean([GOOD, french, GOOD + " a@b.com"], parameters)
    assert len(kept) == 1
    assert [[reason["rule"] for reason in row["reasons"]] for row in rejected] == [["language.allow"], ["pii.email"]]
    assert "a@b.com" not in rejected[1]["text"]
    assert ledger.accounted == ledger.incoming


def test_blocklists_label_and_drop(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("quick brown\nlazy\n")
    (tmp_path / "domains.txt").write_text("spam.example\n")
    lists = [
        {"name": "animals", "words": str(tmp_path / "words.txt"), "max_hits": 1},
        {"name": "spam", "domains": str(tmp_path / "domains.txt"), "action": "drop"},
    ]
    parameters = CleanParameters.model_validate({"blocklists": lists, "thresholds": {"blocklist.animals": {"max": 2}}})
    texts = [
        GOOD + "the Quick\nbrown fox, the LAZY dog",
        GOOD + "lazy " * 3,
        GOOD + "see http://www.spam.example/x",
        GOOD,
    ]
    batch = raw_batch(texts)
    urls = pa.array([None, None, None, '{"url": "https://spam.example/page"}'], pa.large_string())
    batch = batch.set_column(batch.schema.get_field_index("metadata"), "metadata", urls)
    files = {uri: Path(uri).read_bytes() for uri in parameters.files}
    kept, rejected, ledger = merged(list(CleanStage(parameters, files=files).process([batch])))
    assert [(row["record"], row["labels"]) for row in kept] == [(0, ["animals"])]
    assert [(row["record"], row["labels"], [each["rule"] for each in row["reasons"]]) for row in rejected] == [
        (1, ["animals"], ["thresholds.blocklist.animals.max"]),
        (2, ["spam"], ["blocklist.spam"]),
        (3, ["spam"], ["blocklist.spam"]),
    ]
    assert kept[0]["scores"] == [
        {"statistic": "blocklist.animals", "value": 2.0},
        {"statistic": "blocklist.spam", "value": 0.0},
    ]
    assert ledger.accounted == ledger.incoming
    with pytest.raises(BlocklistError, match=r"words\.txt"):
        list(CleanStage(parameters, files=files | {parameters.files[0]: b"# none"}).process([batch]))


class _Moody:
    """A model that cannot score one document."""

    digest = "moody"

    def score(self, texts: pa.LargeStringArray) -> np.ndarray:
        if "unspeakable" in "".join(texts.to_pylist()):
            raise RuntimeError("no words for it")
        return np.array([len(text) % 2 for text in texts.to_pylist()], np.float64)


def test_a_score_is_a_statistic_and_what_cannot_be_scored_goes_to_quarantine() -> None:
    parameters = CleanParameters(quality=(QualityScore(model="moody", min_score=0.5),), gopher_quality=None)
    texts = [GOOD, GOOD + "!", GOOD + " unspeakable"]
    (*outputs,) = CleanStage(parameters, {"moody": _Moody()}).process([raw_batch(texts)])
    kept, rejected, ledger = merged(outputs)
    assert [len(row["text"]) % 2 for row in kept] == [1]
    assert [row["scores"] for row in kept] == [[{"statistic": "quality.moody", "value": 1.0}]]
    assert [row["reasons"] for row in rejected] == [
        [{"rule": "quality.moody.min_score", "value": 0.0, "threshold": 0.5}]
    ]
    (lost,) = (row for output in outputs for row in rows_of(output, Disposition.QUARANTINED))
    assert (lost["text"], lost["error"]) == (texts[2], "RuntimeError: no words for it")
    assert lost["statistics"] is None and lost["reasons"] == []
    assert ledger.quarantined == {"processing_error": in_bytes([texts[2]])}
    assert ledger.accounted == ledger.incoming == in_bytes(texts)


def test_process_streams() -> None:
    taken: list[int] = []

    def part() -> Iterator[pa.RecordBatch]:
        for number in range(3):
            taken.append(number)
            yield raw_batch([GOOD])

    outputs = CleanStage().process(part())
    next(outputs)
    assert taken == [0]


def test_columns_read_back_with_other_types_are_taken() -> None:
    batch = raw_batch([GOOD, "e\u0301"])
    types = {"doc_id": pa.binary(), "text": pa.string_view(), "file": pa.dictionary(pa.int32(), pa.string())}
    others = pa.record_batch({name: batch[name].cast(types.get(name, batch[name].type)) for name in batch.schema.names})
    assert merged(list(CleanStage().process([others]))) == merged(list(CleanStage().process([batch])))


def test_missing_columns_and_nulls_are_refused() -> None:
    batch = raw_batch(["a"])
    with pytest.raises(ValueError, match="no single column 'text'"):
        list(CleanStage().process([batch.drop_columns(["text"])]))
    nulls = batch.set_column(batch.schema.get_field_index("text"), "text", pa.nulls(1, pa.large_string()))
    with pytest.raises(ValueError, match="column 'text' has 1 nulls among 1 rows"):
        list(CleanStage().process([nulls]))


def test_code_version_follows_every_parameter() -> None:
    stage: Stage = CleanStage()
    variants = [
        CleanParameters(),
        CleanParameters(normalise="none"),
        CleanParameters(length=None),
        CleanParameters(gopher_quality=GopherQuality(min_words=30)),
        CleanParameters(stop_words=("der", "die", "das")),
        CleanParameters(words="punctuation"),
        CleanParameters(normalise="NFKC"),
        CleanParameters(repair=Repairs(mojibake=True)),
        CleanParameters(lines=LineEdits(javascript=True)),
        CleanParameters(gopher_repetition=GopherRepetition()),
        CleanParameters(c4=C4()),
        CleanParameters(fineweb=FineWeb()),
        CleanParameters(thresholds={"entropy": Range(min=3.0)}),
        CleanParameters(pii=None),
        CleanParameters(pii=PiiParameters()),
        CleanParameters(language=None),
        CleanParameters(splits=SplitParameters(folds=3)),
        CleanParameters(quality=(QualityScore(model="good"),)),
    ]
    assert len({CleanStage(parameters).code_version for parameters in variants}) == len(variants)
    assert stage.code_version == CleanStage(CleanParameters()).code_version
    assert unicodedata.unidata_version in stage.code_version


def test_real_text_mostly_passes() -> None:
    text = real_data("wikitext-2/wiki.valid.raw").read_text("utf-8")
    kept, rejected, ledger = clean([article for article in text.split("\n = ") if article.strip()])
    assert ledger.accounted == ledger.incoming
    assert len(kept) > len(rejected) > 0
