from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from llm_assets.stages.tokenize.encode import FrozenTokenizer, TokenizerError, tokenize
from llm_assets.stages.tokenizer.train import train_byte_level_bpe
from llm_assets.store.ledger import Count
from llm_assets.store.token_schema import token_schema
from llm_assets_tests.stages.texts import PIECES, any_text, shared_data

END = "<|endoftext|>"
TRAINING = [
    "the cat sat on the mat. It's 3.14, isn't it? " * 20,
    "def f(x):\n    return x\n" * 20,
    "naïve 東京 ไทย " * 20,
]


@cache
def trained() -> FrozenTokenizer:
    return FrozenTokenizer(train_byte_level_bpe(TRAINING, 512, [END]), END)


def gpt2() -> FrozenTokenizer:
    return FrozenTokenizer((shared_data("gpt2") / "tokenizer.json").read_text(), END)


def batch(texts: list[str]) -> pa.RecordBatch:
    return pa.record_batch(
        {
            "doc_id": pa.array([bytes([i % 256]) * 16 for i in range(len(texts))], pa.binary(16)),
            "file": pa.array(["f"] * len(texts), pa.large_string()),
            "record": pa.array(range(len(texts)), pa.int64()),
            "text": pa.array(texts, pa.large_string()),
        }
    )


def reference(tokenizer: FrozenTokenizer, text: str) -> list[int]:
    """By the library, from the `tokenizer.json` alone, special tokens in the text being plain text."""
    library = Tokenizer.from_str(tokenizer.json_text)
    library.encode_special_tokens = True
    return library.encode(text, add_special_tokens=False).ids


def encoded(tokenizer: FrozenTokenizer, texts: pa.Array) -> list[list[int]]:
    offsets, ids = tokenizer.encode(texts)
    assert offsets[0] == 0 and offsets[-1] == len(ids)
    return [part.tolist() for part in np.split(ids, offsets[1:-1])] if len(texts) else []


def rows(tokenizer: FrozenTokenizer, *batches: pa.RecordBatch) -> list[dict[str, Any]]:
    return [row for made, _ in tokenize(batches, tokenizer) for row in made.to_pylist()]


@given(st.lists(any_text, max_size=5), st.integers(0, 4), st.integers(0, 4))
@example(PIECES, 0, 99)
@example(["", END, "", f"a{END}b"], 1, 2)
@example([], 0, 0)
def test_ids_are_those_of_the_reference(texts: list[str], first: int, count: int) -> None:
    tokenizer = trained()
    expected = [reference(tokenizer, text) for text in texts]
    values = pa.array(texts, pa.large_string())
    assert encoded(tokenizer, values) == expected
    assert encoded(tokenizer, values.slice(first, count)) == expected[first : first + count]
    assert tokenizer.disagreements(values.slice(first, count)) == []
    for text, ids in zip(texts, expected, strict=True):
        assert tokenizer.end_of_document_id not in ids
        assert tokenizer.decode(np.array(ids, np.uint32)) == text


@given(st.lists(any_text, max_size=5), st.integers(0, 4), st.integers(0, 4))
@example([], 0, 0)
@example(["", ""], 0, 2)
def test_documents_end_and_are_accounted_for(texts: list[str], first: int, count: int) -> None:
    tokenizer = trained()
    whole = batch(texts)
    part = whole.slice(first, count)
    ((made, ledger),) = tokenize([part], tokenizer)
    assert made.schema == token_schema("uint16")
    expected = [[*reference(tokenizer, text), tokenizer.end_of_document_id] for text in texts]
    assert made["input_ids"].to_pylist() == expected[first : first + count]
    assert made["record"].to_pylist() == part["record"].to_pylist()
    assert made["doc_id"].to_pylist() == part["doc_id"].to_pylist()
    text_bytes = sum(len(text.encode()) for text in texts[first : first + count])
    tokens = sum(map(len, expected[first : first + count]))
    assert ledger.incoming == ledger.kept == Count(part.num_rows, text_bytes)
    assert ledger.output == Count(part.num_rows, 2 * tokens, tokens)


def test_batches_do_not_matter() -> None:
    whole = batch(PIECES)
    pieces = [whole.slice(first, 7) for first in range(0, len(PIECES), 7)]
    assert rows(trained(), whole) == rows(trained(), *pieces)


def test_the_vectors_of_gpt2() -> None:
    folder = shared_data("gpt2")
    texts = (folder / "vectors.inp").read_text().split("\n__ggml_vocab_test__\n")
    expected = [[int(i) for i in line.split()] for line in (folder / "vectors.out").read_text().splitlines()]
    texts = texts[: len(expected)]
    tokenizer = gpt2()
    assert len(texts) > 30
    assert encoded(tokenizer, pa.array(texts, pa.large_string())) == expected
    assert tokenizer.vocabulary_size == 50257 and tokenizer.dtype == "uint16"
    assert tokenizer.end_of_document_id == 50256


def test_real_text_with_gpt2() -> None:
    text = (shared_data("wikitext-2") / "wiki.valid.raw").read_text()
    lines = pa.array(text.splitlines(keepends=True)[:1500], pa.large_string())
    assert gpt2().disagreements(lines) == []


@given(st.lists(any_text, max_size=4))
def test_any_text_with_gpt2(texts: list[str]) -> None:
    assert gpt2_cached().disagreements(pa.array(texts, pa.large_string())) == []


@cache
def gpt2_cached() -> FrozenTokenizer:
    return gpt2()


def test_tokens_that_are_not_special_are_found_in_text() -> None:
    library = Tokenizer.from_str(trained().json_text)
    library.add_tokens([AddedToken("the mat", normalized=False)])
    library.add_special_tokens([AddedToken("<pad>", normalized=False)])
    tokenizer = FrozenTokenizer(library.to_str(), END)
    texts = pa.array(["on the mat, <pad>", "the matter"], pa.large_string())
    assert tokenizer.disagreements(texts) == []
    assert encoded(tokenizer, texts)[1][0] == library.token_to_id("the mat")
    assert library.token_to_id("<pad>") not in encoded(tokenizer, texts)[0]


def test_a_vocabulary_with_gaps_is_as_large_as_its_highest_id() -> None:
    description = json.loads(trained().json_text)
    description["added_tokens"][0]["id"] = 70_000
    description["model"]["vocab"][END] = 70_000
    tokenizer = FrozenTokenizer(json.dumps(description), END)
    assert tokenizer.vocabulary_size == 70_001 and tokenizer.dtype == "uint32"
    assert rows(tokenizer, batch([""]))[0]["input_ids"] == [70_000]


@pytest.mark.parametrize(
    ("json_text", "message"),
    [
        ("this is no JSON", "not a tokenizer.json"),
        ("[]", "not a tokenizer.json"),
        ('{"version": "1.0"}', "not a tokenizer.json: it has no `model`"),
    ],
)
def test_what_is_no_tokenizer_is_refused(json_text: str, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        FrozenTokenizer(json_text, END).vocabulary_size  # noqa: B018


def test_what_the_encoder_does_not_know_is_refused() -> None:
    word_piece = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    model = {**word_piece, "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, END: 1}}
    description = json.loads(trained().json_text) | {"model": model, "added_tokens": []}
    with pytest.raises(TokenizerError, match="WordPiece"):
        FrozenTokenizer(json.dumps(description), END).encode(pa.array(["a"], pa.large_string()))


def test_the_end_of_document_token_must_exist() -> None:
    with pytest.raises(TokenizerError, match=r"'</s>' is not in the tokenizer's vocabulary"):
        FrozenTokenizer(trained().json_text, "</s>").end_of_document_id  # noqa: B018
