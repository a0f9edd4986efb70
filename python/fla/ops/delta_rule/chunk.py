"""The delta rule in chunks: the gated one without a gate."""

from __future__ import annotations

import torch

from ..gated_delta_rule.definition import gated_delta_rule
from .._arguments import check_chunk, check_layout, check_packed, default_scale
from .._calls import run

__all__ = ["chunk_delta_rule"]


def chunk_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    cu_seqlens_cpu: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The delta rule in chunks, forward and backward, in any of the dtypes.

    q, k [B, T, H, K], v [B, T, H, V], beta [B, T, H]. k has unit norm, or is given it by
    use_qk_l2norm_in_kernel, as q then is: x / sqrt(x.x + 1e-6). scale multiplies q,
    K^-0.5 by default. initial_state [N, H, K, V], in float32 inside. cu_seqlens [N + 1]
    packs N sequences into a batch of 1; cu_seqlens_cpu is not needed. chunk_size: 16,
    32 or 64.

    Returns (o [B, T, H, V] in q's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens,
    DeprecationWarning for head_first=True.
    """
    name = "chunk_delta_rule"
    check_layout(name, head_first, q, cu_seqlens)
    check_packed(name, q, cu_seqlens, initial_state)
    check_chunk(name, chunk_size, (16, 32, 64))
    return run(gated_delta_rule, "chunk", q=q, k=k, v=v, beta=beta, scale=default_scale(scale, k),
               normalise=use_qk_l2norm_in_kernel, initial_state=initial_state, output_final_state=output_final_state,
               cu_seqlens=cu_seqlens, chunk_size=chunk_size)
