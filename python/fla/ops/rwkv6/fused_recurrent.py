"""RWKV-6 token by token."""

from __future__ import annotations

import torch

from .._arguments import check_layout, check_packed, default_scale
from .._calls import run
from .chunk import RWKV6

__all__ = ["fused_recurrent_rwkv6"]


def fused_recurrent_rwkv6(
    r: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """RWKV-6 token by token, forward; the backward goes in chunks.

    As chunk_rwkv6. With reverse the recurrence runs from the last token to the first.
    """
    check_layout("fused_recurrent_rwkv6", head_first, r, cu_seqlens)
    check_packed("fused_recurrent_rwkv6", r, cu_seqlens, initial_state)
    return run(RWKV6, "recurrent", r=r, k=k, v=v, w=w, u=u, scale=default_scale(scale, k),
               initial_state=initial_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
               reverse=reverse)
