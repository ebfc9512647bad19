"""Models of transformers trained with our batches: the loss on packed rows is that on single documents.

On the CPU there is no flash attention: a plain one stands in for it, which is given what that would be given.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from llm_assets.loader import Batch, Field, TokenLoader, flash_arguments, sdpa_mask
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import VOCABULARY

transformers = pytest.importorskip("transformers")

INPUTS: tuple[Field, ...] = ("input_ids", "labels", "position_ids")


def model(attention: str) -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    config._attn_implementation = attention
    return transformers.LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def batch(shards: ShardSet) -> Batch:
    fields: list[Field] = [*INPUTS, "document_ids", "cu_seqlens", "max_seqlen"]
    return next(iter(TokenLoader(shards, batch_size=16, fields=fields)))


@pytest.fixture(scope="module")
def alone(batch: Batch) -> float:
    """The mean loss of every next token, each document given to the model by itself."""
    judge = model("sdpa")
    losses: list[torch.Tensor] = []
    for ids, documents in zip(batch["input_ids"], batch["document_ids"], strict=True):
        for number in range(int(documents.max()) + 1):
            tokens = ids[documents == number]
            logits = judge(input_ids=tokens[None]).logits[0]
            losses.append(cross_entropy(logits[:-1], tokens[1:], reduction="none"))
    return float(torch.cat(losses).mean())


def loss(judge: Any, batch: Batch, **more: Any) -> float:
    return float(judge(**{name: batch[name] for name in INPUTS}, **more).loss)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_positions_keep_documents_apart_without_a_cache_alone(batch: Batch, alone: float, attention: str) -> None:
    judge = model(attention)
    assert loss(judge, batch, use_cache=False) == pytest.approx(alone, abs=1e-5)
    # what the guide warns of: should this fail, the warning is out of date
    assert loss(judge, batch) != pytest.approx(alone, abs=1e-5)


def test_the_mask_for_sdpa_keeps_documents_apart(batch: Batch, alone: float) -> None:
    assert loss(model("sdpa"), batch, attention_mask=sdpa_mask(batch["document_ids"])) == pytest.approx(alone, abs=1e-5)


def varlen(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: None,
    *,
    cu_seq_lens_q: torch.Tensor,
    cu_seq_lens_k: torch.Tensor,
    max_length_q: int,
    max_length_k: int,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Rows laid end to end, and each sequence by itself."""
    assert cu_seq_lens_q.dtype == torch.int32 and torch.equal(cu_seq_lens_q, cu_seq_lens_k)
    assert type(max_length_q) is int and max_length_q == max_length_k == int(cu_seq_lens_q.diff().max())
    rows, heads, length, width = query.shape
    flat = [part.transpose(1, 2).reshape(rows * length, heads, width) for part in (query, key, value)]
    parts = zip(*(part.split(cu_seq_lens_q.diff().tolist()) for part in flat), strict=True)
    results = [
        scaled_dot_product_attention(*(part.transpose(0, 1) for part in sequence), is_causal=True).transpose(0, 1)
        for sequence in parts
    ]
    return torch.cat(results).view(rows, length, heads, width), None


def test_flash_attention_is_given_the_documents_of_all_rows(batch: Batch, alone: float) -> None:
    transformers.AttentionInterface.register("plain_varlen", varlen)
    judge = model("plain_varlen")
    assert loss(judge, batch, **flash_arguments(batch)) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("without", ["cu_seqlens", "max_seqlen"])
def test_flash_arguments_say_what_they_need(batch: Batch, without: str) -> None:
    with pytest.raises(ValueError, match="without cu_seqlens and max_seqlen: ask the loader"):
        flash_arguments({name: tensor for name, tensor in batch.items() if name != without})


def test_shifted_labels_are_the_targets_of_a_plain_cross_entropy(shards: ShardSet, alone: float) -> None:
    shifted = next(iter(TokenLoader(shards, batch_size=16, shift_labels=True)))
    logits = model("sdpa")(input_ids=shifted["input_ids"], position_ids=shifted["position_ids"], use_cache=False).logits
    assert float(cross_entropy(logits.flatten(0, 1), shifted["labels"].flatten())) == pytest.approx(alone, abs=1e-5)
