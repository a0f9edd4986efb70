"""Simple GLA token by token."""

from __future__ import annotations

import torch

from .._arguments import check_packed, default_scale, v_first
from .._calls import run
from .chunk import SIMPLE_GLA

__all__ = ["fused_recurrent_simple_gla"]


def fused_recurrent_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    g_gamma: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    *,
    state_v_first: bool = False,
    transpose_state_layout: bool | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Simple GLA token by token, forward; the backward goes in chunks.

    As chunk_simple_gla. With reverse the recurrence runs from the last token to the first.
    """
    name = "fused_recurrent_simple_gla"
    check_packed(name, q, cu_seqlens, initial_state)
    return run(SIMPLE_GLA, "recurrent", q=q, k=k, v=v, g=g, g_gamma=g_gamma, scale=default_scale(scale, k),
               initial_state=initial_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
               reverse=reverse, state_v_first=v_first(name, state_v_first, transpose_state_layout))
