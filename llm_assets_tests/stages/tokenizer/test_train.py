from __future__ import annotations

import os
import subprocess
import sys

import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from llm_assets.stages.tokenizer.train import first_bytes, train_byte_level_bpe

TEXTS = [f"sample {number}: the quick brown fox jumps over {number} lazy dogs, naïve café" * 3 for number in range(200)]
END = "<|endoftext|>"

_TRAIN = """
import hashlib
from llm_assets.stages.tokenizer.train import train_byte_level_bpe
from llm_assets_tests.stages.tokenizer.test_train import TEXTS, END
print(hashlib.sha256(train_byte_level_bpe(TEXTS, 600, [END]).encode()).hexdigest())
"""


def test_the_same_texts_give_the_same_tokenizer_in_every_process() -> None:
    """Whatever the seed of hashes and the number of threads."""
    made: set[str] = set()
    for seed, threads in (("0", "1"), ("1", "2"), ("2", "4")):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "RAYON_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "1",
        }
        run = subprocess.run(
            [sys.executable, "-c", _TRAIN], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        made.add(run.stdout.strip())
    assert len(made) == 1


def test_what_is_trained() -> None:
    tokenizer = Tokenizer.from_str(train_byte_level_bpe(TEXTS, 450, [END]))
    assert tokenizer.get_vocab_size() == 450
    assert tokenizer.token_to_id(END) == 0
    for text in ("", "anything: 東京 \x00 \n", TEXTS[0]):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == text
    assert len(tokenizer.encode(TEXTS[7]).ids) < len(TEXTS[7].encode()) / 2


def test_every_byte_is_in_the_vocabulary_even_if_it_never_occurred() -> None:
    tokenizer = Tokenizer.from_str(train_byte_level_bpe(["a"], 300, [END]))
    assert tokenizer.get_vocab_size() == 257


@pytest.mark.parametrize(("limit", "taken"), [(0, 0), (1, 1), (5, 1), (6, 2), (9, 2), (10, 3), (99, 3)])
def test_first_bytes_end_with_the_text_that_crosses_the_mark(limit: int, taken: int) -> None:
    texts = ["ab é", "1234", "z"]
    table = pa.table({"text": pa.array(texts, pa.large_string())})
    assert list(first_bytes(table.to_batches(max_chunksize=2), limit)) == texts[:taken]
