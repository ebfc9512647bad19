"""Files that are no classifier, or one of a kind that the kernel does not evaluate, are refused, and say why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from llm_assets.stages.clean.language.model import ModelError, read_classifier
from llm_assets_tests.stages.clean.language.model_files import NEGATIVE, WORDS, ModelFile

WHOLE = ModelFile(quantised=True, pruned=20)


def test_labels_lose_their_prefix() -> None:
    assert read_classifier(WHOLE.encode()).labels == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": 1}, "begin"),
        ({"kind": 2}, "supervised"),
        ({"loss": NEGATIVE}, "softmax"),
        ({"word_ngrams": 2}, "2 words"),
        ({"quantised_output": True}, "output layer"),
        ({"labels": 0}, "0 labels"),
        ({"label_prefix": "#"}, "does not begin with __label__"),
        ({"buckets": 0, "pruned": 0}, "0 buckets"),
    ],
)
def test_other_models_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_classifier(dataclasses.replace(WHOLE, **changes).encode())


@pytest.mark.parametrize("file", [WHOLE, ModelFile()])
def test_no_part_of_a_model_is_a_model(file: ModelFile) -> None:
    data = file.encode()
    for size in range(0, len(data), 7):
        with pytest.raises(ModelError):
            read_classifier(data[:size])


def test_words_are_found() -> None:
    words = [f"word-{number}" for number in range(500)]
    network = read_classifier(ModelFile(words=words).encode()).network
    assert len(network.word_starts) == 501
    assert sorted(slot for slot in network.word_slots.tolist() if slot >= 0) == list(range(500))
    assert "</s>" in WORDS and read_classifier(ModelFile().encode()).network.end_of_line == WORDS.index("</s>")
    assert network.end_of_line == -1
