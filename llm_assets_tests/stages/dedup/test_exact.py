from __future__ import annotations

import hashlib
from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.contract.stage import Disposition
from llm_assets.stages.dedup.columns import VERDICT_SCHEMA
from llm_assets.stages.dedup.exact import DUPLICATE, ContentIndex, DedupPart, DedupStage
from llm_assets.stages.dedup.parameters import DedupParameters, stage_version
from llm_assets.store.ledger import Count, Ledger

Corpus = dict[str, list[str]]
Verdict = tuple[bool, bytes | None, str | None]
snapshots = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=7), min_size=1, max_size=4)


def named(contents: list[list[str]]) -> Corpus:
    return {f"s{number}": texts for number, texts in enumerate(contents)}


def doc_id(snapshot: str, place: int) -> bytes:
    return hashlib.md5(f"{snapshot}/{place}".encode()).digest()


def documents(snapshot: str, texts: list[str]) -> pa.Table:
    return pa.table(
        {
            "content_hash": pa.array([hashlib.md5(text.encode()).digest() for text in texts], pa.binary(16)),
            "doc_id": pa.array([doc_id(snapshot, place) for place in range(len(texts))], pa.binary(16)),
            "file": pa.array([f"{snapshot}.jsonl"] * len(texts), pa.large_string()),
            "record": pa.array(range(len(texts)), pa.int64()),
            "text": pa.array(texts, pa.large_string()),
        }
    )


def oracle(corpus: Corpus) -> dict[str, list[Verdict]]:
    first: dict[str, tuple[bytes, str]] = {}
    verdicts: dict[str, list[Verdict]] = {}
    for snapshot, texts in corpus.items():
        verdicts[snapshot] = []
        for place, text in enumerate(texts):
            partner = first.get(text)
            verdicts[snapshot].append((True, None, None) if partner is None else (False, *partner))
            first.setdefault(text, (doc_id(snapshot, place), snapshot))
    return verdicts


def judged(corpus: Corpus, snapshot: str, cuts: list[int]) -> tuple[list[Verdict], Ledger]:
    """By the stage, the snapshot's documents cut into parts of two batches each."""
    tables = {name: documents(name, texts) for name, texts in corpus.items()}
    upto = list(corpus)[: list(corpus).index(snapshot) + 1]
    stage = DedupStage(DedupParameters(), ContentIndex.build((name, tables[name]) for name in upto))
    own = tables[snapshot]
    verdicts: list[Verdict] = []
    ledger = Ledger()
    for begin, end in pairwise(sorted({0, own.num_rows, *(cut for cut in cuts if cut <= own.num_rows)})):
        middle = (begin + end) // 2
        batches = [*own.slice(begin, middle - begin).to_batches(), *own.slice(middle, end - middle).to_batches()]
        for output in stage.process(DedupPart(batches, snapshot, begin)):
            rows = output.rows[Disposition.VERDICT]
            assert rows.schema == VERDICT_SCHEMA
            for row in rows.to_pylist():
                assert row["similarity"] == (None if row["kept"] else 1.0)
                assert (row["file"], row["record"]) == (f"{snapshot}.jsonl", len(verdicts))
                assert row["doc_id"] == doc_id(snapshot, len(verdicts))
                verdicts.append((row["kept"], row["partner_doc_id"], row["partner_snapshot"]))
            ledger = ledger + output.ledger
    return verdicts, ledger


@given(snapshots, st.lists(st.integers(0, 7)))
def test_exactly_the_earliest_of_equal_documents_is_kept(contents: list[list[str]], cuts: list[int]) -> None:
    corpus = named(contents)
    expected = oracle(corpus)
    kept: list[str] = []
    for snapshot, texts in corpus.items():
        verdicts, ledger = judged(corpus, snapshot, cuts)
        assert verdicts == expected[snapshot]
        mine = [text for text, verdict in zip(texts, verdicts, strict=True) if verdict[0]]
        kept += mine
        assert ledger.incoming == ledger.accounted == Count(len(texts), len(texts))
        assert ledger.kept == ledger.output == Count(len(mine), len(mine))
        assert ledger.dropped_total.documents == len(texts) - len(mine)
        assert {*ledger.dropped} <= {DUPLICATE}
    assert sorted(kept) == sorted({text for texts in corpus.values() for text in texts})


@given(snapshots, st.lists(st.sampled_from("abcdefgh"), max_size=7))
def test_a_later_snapshot_changes_no_verdict(contents: list[list[str]], later: list[str]) -> None:
    corpus, longer = named(contents), named([*contents, later])
    for snapshot in corpus:
        assert judged(corpus, snapshot, []) == judged(longer, snapshot, [])


def test_bytes_are_counted() -> None:
    _, ledger = judged({"s0": ["aé", "bb", "aé"]}, "s0", [])
    assert ledger.incoming == Count(3, 8) and ledger.kept == Count(2, 5)
    assert ledger.dropped == {DUPLICATE: Count(1, 3)}


def test_the_code_version_is_that_of_the_parameters() -> None:
    stage = DedupStage(DedupParameters(), ContentIndex.build([("s", documents("s", ["a"]))]))
    assert stage.code_version == stage_version(DedupParameters())
    assert stage.schema == VERDICT_SCHEMA
