"""RWKV-7 in chunks."""

from __future__ import annotations

import torch

from .._arguments import check_layout
from ..generalized_delta_rule.dplr.chunk import chunk_dplr_delta_rule

__all__ = ["chunk_rwkv7"]


def chunk_rwkv7(
    r: torch.Tensor,
    w: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: float = 1.0,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = True,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    cu_seqlens_cpu: torch.Tensor | None = None,
    safe_gate: bool = False,
    chunk_size: int | None = None,
    disable_recompute: bool = False,
    cp_context=None,
    lower_bound: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """RWKV-7 in chunks, forward and backward: chunk_dplr_delta_rule with r for q, w for gk and scale 1.

    r, w, k, a, b [B, T, H, K], v [B, T, H, V]; w is a natural log, not positive. The model
    passes a = -kk and b = kk times its in-context rate. Other arguments, results and
    errors as there.
    """
    check_layout("chunk_rwkv7", head_first, r, cu_seqlens)
    return chunk_dplr_delta_rule(r, k, v, a, b, w, scale, initial_state, output_final_state, cu_seqlens,
                                 safe_gate=safe_gate, chunk_size=chunk_size, disable_recompute=disable_recompute,
                                 cp_context=cp_context, lower_bound=lower_bound)
