"""RWKV-7 token by token."""

from __future__ import annotations

import torch

from fla.lang import load

from .._arguments import check_layout, check_packed, default_scale
from .._calls import run
from ..generalized_delta_rule.dplr.fused_recurrent import fused_recurrent_dplr_delta_rule

__all__ = ["fused_recurrent_rwkv7", "fused_mul_recurrent_rwkv7"]

RWKV7_KK = load("rwkv7_kk")


def fused_recurrent_rwkv7(
    r: torch.Tensor,
    w: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = True,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """RWKV-7 token by token, forward; the backward goes in chunks.

    As chunk_rwkv7, but scale is K^-0.5 by default.
    """
    check_layout("fused_recurrent_rwkv7", head_first, r, cu_seqlens)
    return fused_recurrent_dplr_delta_rule(r, k, v, a, b, w, scale, initial_state, output_final_state,
                                           cu_seqlens=cu_seqlens)


def fused_mul_recurrent_rwkv7(
    r: torch.Tensor,
    w: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    kk: torch.Tensor,
    a: torch.Tensor,
    scale: float | None = 1.0,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """RWKV-7 token by token with its removal key kk and in-context rate a: -kk and kk a for chunk_rwkv7's a and b.

    r, w, k, kk, a [B, T, H, K], v [B, T, H, V]; w is a natural log, not positive, kk of unit
    norm. scale None is K^-0.5. initial_state [N, H, K, V], in float32 inside. With
    reverse the recurrence runs from the last token to the first.

    Returns (o [B, T, H, V] in r's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens,
    DeprecationWarning for head_first=True.
    """
    check_layout("fused_mul_recurrent_rwkv7", head_first, r, cu_seqlens)
    check_packed("fused_mul_recurrent_rwkv7", r, cu_seqlens, initial_state)
    return run(RWKV7_KK, "recurrent", r=r, w=w, k=k, v=v, kk=kk, a=a, scale=default_scale(scale, r),
               initial_state=initial_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
               reverse=reverse)
