"""Gated DeltaProduct as a gated delta rule of n times as many tokens, of which every n-th one is read."""

from __future__ import annotations

import torch

from ..gated_delta_rule.chunk import chunk_gated_delta_rule

__all__ = ["chunk_gated_delta_product_ref"]


def _spread(x: torch.Tensor, n: int, at: int) -> torch.Tensor:
    """x [B, T, H, ...] as [B, T n, H, ...]: zeros but for step `at` of each token."""
    steps = [torch.zeros_like(x)] * n
    steps[at] = x
    return torch.stack(steps, 2).flatten(1, 2)


def chunk_gated_delta_product_ref(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None,
    beta: torch.Tensor,
    num_householder: int,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    use_qk_l2norm_in_kernel: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What chunk_gated_delta_product computes, by chunk_gated_delta_rule; shapes as there."""
    n = num_householder
    o, final = chunk_gated_delta_rule(
        _spread(q, n, n - 1), k, v, None if g is None else _spread(g, n, 0), beta, scale, initial_state,
        output_final_state, use_qk_l2norm_in_kernel, None if cu_seqlens is None else cu_seqlens * n)
    return o[:, n - 1::n].contiguous(), final
