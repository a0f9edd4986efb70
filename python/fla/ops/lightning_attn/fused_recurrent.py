"""Lightning attention token by token."""

from __future__ import annotations

import torch

from .._arguments import check_layout
from ..simple_gla.fused_recurrent import fused_recurrent_simple_gla
from .chunk import lightning_decay

__all__ = ["fused_recurrent_lightning_attn"]


def fused_recurrent_lightning_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    layer_idx: int,
    num_layers: int,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Lightning attention token by token, forward; the backward goes in chunks.

    As chunk_lightning_attn. With reverse the recurrence runs from the last token to the first.
    """
    check_layout("fused_recurrent_lightning_attn", head_first, q, cu_seqlens)
    return fused_recurrent_simple_gla(q, k, v, None, lightning_decay(q, layer_idx, num_layers), scale, initial_state,
                                      output_final_state, reverse, cu_seqlens)
