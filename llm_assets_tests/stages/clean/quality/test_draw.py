"""A draw is the same in whatever order and batches the documents come, and holds out by `doc_id` alone."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.contract.by_hash import hashes
from llm_assets.stages.clean.quality.draw import Drawn, draw
from llm_assets.stages.clean.quality.parameters import DrawParameters
from llm_assets.store.ledger import Count


def ids(texts: Sequence[str]) -> pa.Array:
    return pa.array([hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts], pa.binary(16))


def batches(texts: Sequence[str], size: int = 50) -> list[pa.RecordBatch]:
    parts = [texts[begin : begin + size] for begin in range(0, len(texts), size)]
    return [pa.record_batch({"doc_id": ids(part), "text": pa.array(part, pa.large_string())}) for part in parts]


def made(kind: str, count: int) -> list[str]:
    return [f"{kind} {number} " + "é" * (number % 7) for number in range(count)]


def columns(drawn: Drawn) -> list[list[str]]:
    classes = drawn.good, drawn.ordinary
    return [texts.to_pylist() for each in classes for texts in (each.train, each.held_out)]


def drawn(good: Sequence[str], ordinary: Sequence[str], size: int = 50, **parameters: Any) -> Drawn:
    return draw(batches(good, size), batches(ordinary, size), DrawParameters(**parameters))


def plain(texts: Sequence[str], parameters: DrawParameters) -> tuple[list[str], list[str]]:
    """Those trained on and those held out of one class, the obvious way."""
    order = sorted(zip(hashes(ids(texts), parameters.seed, "quality").tolist(), texts, strict=True))
    found: tuple[list[str], list[str]] = [], []
    for part, share in ((0, 1.0), (1, parameters.held_out)):
        size = 0
        for hashed, text in order:
            if (hashed < parameters.held_out * 2**64) != bool(part) or text in found[part]:
                continue
            size += len(text.encode())
            full = len(found[part]) == max(1, round(parameters.max_documents * share))
            if full or size > max(1, round(parameters.max_bytes * share)):
                break
            found[part].append(text)
    return found


@given(
    counts=st.tuples(st.integers(0, 150), st.integers(0, 150)),
    size=st.integers(1, 60),
    parameters=st.builds(
        DrawParameters,
        max_documents=st.integers(1, 200),
        max_bytes=st.integers(1, 3_000),
        held_out=st.sampled_from([0.1, 0.3, 0.5]),
        seed=st.integers(0, 3),
    ),
    seed=st.randoms(use_true_random=False),
)
def test_a_draw_is_the_smallest_hashes(
    counts: tuple[int, int], size: int, parameters: DrawParameters, seed: random.Random
) -> None:
    good, ordinary = made("good", counts[0]), made("ordinary", counts[1])
    wanted = [plain(good, parameters), plain(ordinary, parameters)]
    train, held_out = (min(len(each[part]) for each in wanted) for part in (0, 1))
    shuffled = [seed.sample(texts, len(texts)) for texts in (good + good[:9], ordinary)]
    result = draw(batches(shuffled[0], size), batches(shuffled[1], size), parameters)
    assert columns(result) == [each[part][:end] for each in wanted for part, end in ((0, train), (1, held_out))]
    assert result.incoming.documents == len(shuffled[0]) + len(ordinary)


def test_others_that_arrive_change_no_document_from_held_out_to_trained_on() -> None:
    before, after = drawn(made("g", 100), made("o", 100)), drawn(made("g", 300), made("o", 250))
    for ours, theirs in ((before.good, after.good), (before.ordinary, after.ordinary)):
        assert set(ours.held_out.to_pylist()).isdisjoint(theirs.train.to_pylist())
        assert set(ours.train.to_pylist()).isdisjoint(theirs.held_out.to_pylist())


def test_texts_of_both_classes_are_left_out_and_none_held_out_was_trained_on() -> None:
    both = made("both", 60)
    good, ordinary = [*made("g", 60), *both], [*made("o", 60), *both]
    copies = [
        pa.record_batch({"doc_id": ids([f"copy of {t}" for t in good]), "text": pa.array(good, pa.large_string())})
    ]
    result = draw([*batches(good), *copies], batches(ordinary), DrawParameters(held_out=0.5))
    train, held_out, other_train, other_held_out = map(set, columns(result))
    assert train and held_out and not train & held_out
    assert not (train | held_out | other_train | other_held_out) & set(both)
    assert len(train) == len(other_train) == len(result.good.train)


def test_texts_are_prepared_as_they_will_be_scored() -> None:
    result = drawn(["e\u0301" * 9, "", *made("g", 30)], made("o", 30), max_document_characters=4, held_out=0.5)
    texts = [text for column in columns(result)[:2] for text in column]
    assert "éé" in texts and "" not in texts and max(map(len, texts)) <= 4


def test_amounts() -> None:
    result = drawn(made("good", 40), made("ordinary", 30), held_out=0.5)
    assert result.incoming.documents == 70
    counted = [Count(len(column), sum(len(text.encode()) for text in column)) for column in columns(result)]
    assert result.train == counted[0] + counted[2] and result.held_out == counted[1] + counted[3]


def test_nothing_to_draw() -> None:
    assert columns(drawn([], made("o", 30))) == [[], [], [], []]
    assert drawn([], []).incoming == Count()
