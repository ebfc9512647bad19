"""A byte-level BPE tokenizer trained on text of the sources.

Guarantees the same `tokenizer.json` for the same texts in the same order. Which texts those are, and that it is
never retrained, is the tokenizer asset's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from llm_assets.kernels.arrow import byte_lengths


def train_byte_level_bpe(texts: Iterable[str], vocabulary_size: int, special_tokens: list[str]) -> str:
    """Text of the `tokenizer.json` (Sennrich et al. 2016 on bytes, pre-tokenized as GPT-2 does)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return str(tokenizer.to_str())


def first_bytes(batches: Iterable[pa.RecordBatch], max_bytes: int) -> Iterator[str]:
    """Texts in order until `max_bytes` of UTF-8 are reached; the text that crosses the mark is the last."""
    taken = 0
    for batch in batches:
        sizes = byte_lengths(batch["text"])
        for text, size in zip(batch["text"], sizes.tolist(), strict=True):
            if taken >= max_bytes:
                return
            taken += size
            yield text.as_py()
