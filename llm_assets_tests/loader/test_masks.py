"""Attention on packed rows is attention on each document by itself: outputs and gradients.

FlexAttention has no backward pass on the CPU: of it the outputs are compared, and its mask with that of SDPA.
"""

from collections.abc import Callable

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, create_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from llm_assets.loader import TokenLoader, flex_mask_mod, sdpa_mask
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import LENGTH

HEADS, WIDTH = 2, 16
Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, bool], torch.Tensor]


def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, documents: torch.Tensor, causal: bool) -> torch.Tensor:
    return scaled_dot_product_attention(q, k, v, attn_mask=sdpa_mask(documents, causal=causal))


def flex(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, documents: torch.Tensor, causal: bool) -> torch.Tensor:
    mask = create_block_mask(
        flex_mask_mod(documents, causal=causal),
        len(documents),
        None,
        documents.shape[1],
        documents.shape[1],
        device="cpu",
    )
    return flex_attention(q.detach(), k.detach(), v.detach(), block_mask=mask)


@pytest.mark.parametrize("causal", [True, False])
def test_both_masks_are_the_same(shards: ShardSet, causal: bool) -> None:
    [batch] = TokenLoader(shards, batch_size=101, fields=["document_ids"])
    documents = batch["document_ids"]
    mask = create_mask(flex_mask_mod(documents, causal=causal), 101, None, LENGTH, LENGTH, device="cpu")
    assert torch.equal(mask, sdpa_mask(documents, causal=causal))
    assert mask.any(-1).all()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("attention", [sdpa, flex])
@pytest.mark.parametrize("length", [LENGTH, 4])
def test_attention_on_packed_rows_is_attention_on_single_documents(
    shards: ShardSet, attention: Attention, causal: bool, length: int
) -> None:
    batch = next(iter(TokenLoader(shards, batch_size=8, sequence_length=length, fields=["document_ids", "cu_seqlens"])))
    documents = batch["document_ids"]
    generator = torch.Generator().manual_seed(0)
    shape = (3, 8, HEADS, length, WIDTH)
    packed = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    output = attention(*packed.unbind(0), documents, causal)
    if output.requires_grad:
        (output * weights * (documents >= 0)[:, None, :, None]).sum().backward()
    assert torch.isfinite(output).all()

    alone = packed.detach().clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for start, stop in zip(batch["cu_seqlens"][:-1].tolist(), batch["cu_seqlens"][1:].tolist(), strict=True):
        row, place = divmod(start, length)
        part = slice(place, place + stop - start)
        if documents[row, place] < 0:
            continue
        single = scaled_dot_product_attention(*alone[:, row : row + 1, :, part].unbind(0), is_causal=causal)
        torch.testing.assert_close(output[row, :, part], single[0])
        total = total + (single[0] * weights[row, :, part]).sum()
    assert output.requires_grad is (attention is sdpa)
    if output.requires_grad:
        total.backward()
        torch.testing.assert_close(packed.grad, alone.grad)
