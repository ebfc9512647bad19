"""Bytes of tokens: those of a text add up to it, for every kind of tokenizer that is known, and others are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from llm_assets.stages.tokenize.token_bytes import UnknownBytesError, token_bytes
from llm_assets.stages.tokenizer.train import train_byte_level_bpe

TEXTS = ["the river, the canal and the lock — naïve café 東京 🗼", "def run(self) -> None:\n\treturn {'a': 1}\n"] * 4


def byte_level() -> str:
    return train_byte_level_bpe(TEXTS, 320, ["<|end|>"])


def with_byte_fallback() -> str:
    """As Llama's: ▁ for spaces, and a token for each byte that no token has."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<|end|>"]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False, limit_alphabet=60)
    tokenizer.train_from_iterator(TEXTS, trainer=trainer)
    content = json.loads(tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    for token in (f"<0x{byte:02X}>" for byte in range(256)):
        vocabulary.setdefault(token, len(vocabulary))
    return json.dumps(content)


MADE = {"byte level": byte_level(), "byte fallback": with_byte_fallback()}


@pytest.mark.parametrize("json_text", MADE.values(), ids=MADE)
@given(text=st.text(max_size=60) | st.sampled_from(TEXTS))
def test_bytes_of_the_tokens_add_up_to_those_of_the_text(json_text: str, text: str) -> None:
    tokenizer = Tokenizer.from_str(json_text)
    if "<unk>" in text or "<|end|>" in text or "▁" in text:
        return
    sizes = token_bytes(json_text, tokenizer.get_vocab_size())
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert int(sizes[ids].sum()) == len(text.encode())


def test_special_tokens_and_what_is_no_token_are_no_bytes_but_added_text_is() -> None:
    tokenizer = Tokenizer.from_str(MADE["byte level"])
    tokenizer.add_tokens([AddedToken("Größe", special=False)])
    size = tokenizer.get_vocab_size()
    sizes = token_bytes(tokenizer.to_str(), size + 3)
    assert sizes[tokenizer.token_to_id("<|end|>")] == 0
    assert sizes[tokenizer.token_to_id("Größe")] == len("Größe".encode())
    assert not sizes[size:].any() and len(sizes) == size + 3


def test_a_tokenizer_that_does_not_say_is_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UnknownBytesError, match="the decoders: none"):
        token_bytes(tokenizer.to_str(), 2)
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(UnknownBytesError, match="the decoders: WordPiece"):
        token_bytes(tokenizer.to_str(), 2)
