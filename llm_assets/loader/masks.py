"""Attention within documents of packed rows: masks for torch's SDPA and FlexAttention, arguments of flash attention.

Guarantees that a token attends to its own document alone, and with `causal` only up to itself. Padding attends to
padding, since a token that attends to nothing would give NaN; its labels are masked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import torch

from llm_assets.loader.fields import Batch

MaskMod = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def sdpa_mask(document_ids: torch.Tensor, *, causal: bool = True) -> torch.Tensor:
    """`attn_mask` for `scaled_dot_product_attention`: bool [b, 1, L, L], True where the query may see the key.

    Not for attention that *adds* its mask to the scores, such as `eager` of Hugging Face.
    """
    same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
    return same.tril() if causal else same


def flex_mask_mod(document_ids: torch.Tensor, *, causal: bool = True) -> MaskMod:
    """`mask_mod` for `create_block_mask` and `flex_attention`; `document_ids` is an integer tensor [b, L].

    Use it as `create_block_mask(flex_mask_mod(document_ids), B=b, H=None, Q_LEN=L, KV_LEN=L)`.
    """

    def same_document(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        seen = document_ids[batch, query] == document_ids[batch, key]
        return seen & (query >= key) if causal else seen

    return same_document


class FlashArguments(TypedDict):
    """Boundaries of the sequences in the rows laid end to end (int32 [n + 1]), and the greatest length."""

    cu_seq_lens_q: torch.Tensor
    cu_seq_lens_k: torch.Tensor
    max_length_q: int
    max_length_k: int


def flash_arguments(batch: Batch) -> FlashArguments:
    """Further arguments of a Hugging Face model with flash attention: `model(…, **flash_arguments(batch))`.

    Needs the fields `cu_seqlens` and `max_seqlen`; does not synchronise with a device. Raises ValueError without them.
    """
    if not {"cu_seqlens", "max_seqlen"} <= batch.keys():
        raise ValueError("a batch without cu_seqlens and max_seqlen: ask the loader for those fields")
    boundaries, longest = batch["cu_seqlens"], int(batch["max_seqlen"])
    return {
        "cu_seq_lens_q": boundaries,
        "cu_seq_lens_k": boundaries,
        "max_length_q": longest,
        "max_length_k": longest,
    }
