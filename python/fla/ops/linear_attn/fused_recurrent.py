"""Linear attention token by token."""

from __future__ import annotations

import torch

from .chunk import linear_attention

__all__ = ["fused_recurrent_linear_attn"]


def fused_recurrent_linear_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | tuple | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    normalize: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | tuple | None]:
    """Linear attention token by token, forward; the backward goes in chunks.

    As chunk_linear_attn. With reverse the recurrence runs from the last token to the first.
    """
    return linear_attention("recurrent", q, k, v, scale, initial_state, output_final_state, normalize, cu_seqlens,
                            reverse=reverse)
