"""Attention masks that keep the documents of a row apart: for torch's SDPA, and for FlexAttention.

Guarantees that a token sees its own document alone, up to itself where `causal`. Padding sees padding, so that no
token sees nothing at all (its output would be NaN); its labels are masked.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

MaskMod = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def sdpa_mask(document_ids: torch.Tensor, *, causal: bool = True) -> torch.Tensor:
    """`attn_mask` for `scaled_dot_product_attention`: bool [b, 1, L, L], True where the query may see the key."""
    same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
    return same.tril() if causal else same


def flex_mask_mod(document_ids: torch.Tensor, *, causal: bool = True) -> MaskMod:
    """`mask_mod` for `create_block_mask` and `flex_attention`; `document_ids` is an integer tensor [b, L].

    As in `create_block_mask(flex_mask_mod(document_ids), B=b, H=None, Q_LEN=L, KV_LEN=L)`.
    """

    def same_document(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        seen = document_ids[batch, query] == document_ids[batch, key]
        return seen & (query >= key) if causal else seen

    return same_document
