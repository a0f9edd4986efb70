"""Gated DeltaProduct in chunks."""

from __future__ import annotations

import torch

from .._arguments import check_chunk, check_packed, default_scale
from .._calls import run
from .definition import gated_delta_product

__all__ = ["chunk_gated_delta_product"]


def _steps(name: str, what: str, x: torch.Tensor, q: torch.Tensor, n: int) -> torch.Tensor:
    """x [B, T n, H, ...] as [B, T, H, n, ...]."""
    if x.shape[:3] != (q.shape[0], q.shape[1] * n, q.shape[2]):
        raise ValueError(f"{name}: {what}: expected shape {[q.shape[0], q.shape[1] * n, q.shape[2]]} and more, {n} "
                         f"steps for each of q's {q.shape[1]} tokens, got {list(x.shape)}")
    return x.reshape(q.shape[0], q.shape[1], n, *x.shape[2:]).transpose(2, 3).contiguous()


def chunk_gated_delta_product(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None,
    beta: torch.Tensor,
    num_householder: int,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    *,
    cu_seqlens_cpu: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Gated DeltaProduct in chunks, forward and backward, in any of the dtypes.

    q [B, T, H, K]; k [B, T n, H, K], v [B, T n, H, V] and beta [B, T n, H] with n =
    num_householder steps a token, one after another. g [B, T, H] is a natural log, not
    positive, or None for no decay. k has unit norm, or is given it by
    use_qk_l2norm_in_kernel, as q then is. scale multiplies q, K^-0.5 by default.
    initial_state [N, H, K, V], in float32 inside. cu_seqlens [N + 1] counts q's tokens.

    Returns (o [B, T, H, V] in q's dtype, final state in float32 or None). Raises
    ValueError for shapes that do not go together.
    """
    name = "chunk_gated_delta_product"
    check_packed(name, q, cu_seqlens, initial_state)
    check_chunk(name, chunk_size)
    k, v, beta = (_steps(name, what, x, q, num_householder) for what, x in (("k", k), ("v", v), ("beta", beta)))
    return run(gated_delta_product, "chunk", q=q, k=k, v=v, beta=beta, g=g, n=num_householder,
               scale=default_scale(scale, q), normalise=use_qk_l2norm_in_kernel, initial_state=initial_state,
               output_final_state=output_final_state, cu_seqlens=cu_seqlens, chunk_size=chunk_size)
