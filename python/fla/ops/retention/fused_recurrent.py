"""Retention token by token."""

from __future__ import annotations

import torch

from ..simple_gla.fused_recurrent import fused_recurrent_simple_gla
from .decay import retention_decay

__all__ = ["fused_recurrent_retention"]


def fused_recurrent_retention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    *,
    state_v_first: bool = False,
    transpose_state_layout: bool | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Retention token by token, forward; the backward goes in chunks.

    As chunk_retention. With reverse the recurrence runs from the last token to the first.
    """
    return fused_recurrent_simple_gla(q, k, v, None, retention_decay(q), scale, initial_state, output_final_state,
                                      reverse, cu_seqlens, state_v_first=state_v_first,
                                      transpose_state_layout=transpose_state_layout)
