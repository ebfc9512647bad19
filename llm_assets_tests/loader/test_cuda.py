"""What only a CUDA device can show: copies beside a busy model, and attention kernels that the CPU has not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from llm_assets.loader import Batch, Dtype, TokenLoader, flex_mask_mod, sdpa_mask
from llm_assets.loader.fields import ALL_FIELDS
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import plain, write

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

HEADS, WIDTH = 2, 16


@pytest.mark.parametrize("dtype", ["int64", "int32", "narrow"])
@pytest.mark.parametrize("prefetch", [0, 1, 2, 8])
def test_batches_are_those_of_the_host_while_the_model_is_busy(tmp_path: Path, prefetch: int, dtype: Dtype) -> None:
    shards = write(tmp_path, 2000)
    loader = TokenLoader(shards, batch_size=8, fields=ALL_FIELDS, dtype=dtype, device="cuda", prefetch=prefetch)
    weight = torch.randn(4096, 4096, device="cuda")
    kept: list[Batch] = []
    for batch in loader:
        for _ in range(4):  # the consumer's stream is behind: a batch given back too early would be written over
            weight = torch.tanh(weight @ weight)
        kept.append({name: tensor.clone() for name, tensor in batch.items()})
        for tensor in batch.values():
            tensor.zero_()
    assert {tensor.device.type for name, tensor in kept[0].items() if name != "max_seqlen"} == {"cuda"}
    host = TokenLoader(shards, batch_size=8, fields=ALL_FIELDS, dtype=dtype)
    assert plain(kept) == plain(host)


@pytest.mark.parametrize("causal", [True, False])
def test_flex_attention_has_the_gradients_of_sdpa(shards: ShardSet, causal: bool) -> None:
    [batch] = TokenLoader(shards, batch_size=101, fields=["document_ids"], device="cuda")
    documents = batch["document_ids"]
    rows, length = documents.shape
    real = (documents >= 0)[:, None, :, None]
    mask = create_block_mask(flex_mask_mod(documents, causal=causal), rows, None, length, length, device="cuda")

    def gradient(attend: str) -> torch.Tensor:
        generator = torch.Generator("cuda").manual_seed(0)
        packed = torch.randn((3, rows, HEADS, length, WIDTH), generator=generator, device="cuda", requires_grad=True)
        q, k, v = packed.unbind(0)
        if attend == "flex":
            output = flex_attention(q, k, v, block_mask=mask)
        else:
            output = scaled_dot_product_attention(q, k, v, attn_mask=sdpa_mask(documents, causal=causal))
        assert isinstance(output, torch.Tensor)
        (output * real).square().sum().backward()
        assert packed.grad is not None
        return packed.grad

    torch.testing.assert_close(gradient("flex"), gradient("sdpa"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("causal", [True, False])
def test_variable_length_attention_is_attention_on_single_documents(shards: ShardSet, causal: bool) -> None:
    wanted = ["cu_seqlens", "max_seqlen"]
    batch = next(iter(TokenLoader(shards, batch_size=8, fields=wanted, device="cuda")))
    boundaries, longest = batch["cu_seqlens"], int(batch["max_seqlen"])
    tokens = int(boundaries[-1])
    generator = torch.Generator("cuda").manual_seed(0)
    shape = (3, tokens, HEADS, WIDTH)
    packed = torch.randn(shape, generator=generator, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    alone = packed.detach().clone().requires_grad_()
    window = (-1, 0) if causal else (-1, -1)
    output = varlen_attn(*packed.unbind(0), boundaries, boundaries, longest, longest, window_size=window)
    assert isinstance(output, torch.Tensor)
    output.square().sum().backward()
    total = torch.zeros((), device="cuda")
    for start, stop in zip(boundaries[:-1].tolist(), boundaries[1:].tolist(), strict=True):
        q, k, v = (part[None, start:stop].transpose(1, 2) for part in alone.unbind(0))
        single = scaled_dot_product_attention(q, k, v, is_causal=causal)[0].transpose(0, 1)
        torch.testing.assert_close(output[start:stop], single, rtol=2e-2, atol=2e-2)
        total = total + single.square().sum()
    total.backward()
    torch.testing.assert_close(packed.grad, alone.grad, rtol=5e-2, atol=5e-2)
