"""The gated Oja rule in chunks."""

from __future__ import annotations

import torch

from .._arguments import check_chunk, check_layout, check_packed, default_scale
from .._calls import run
from .definition import gated_oja_rule

__all__ = ["chunk_gated_oja_rule"]


def chunk_gated_oja_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gv: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_q_l2norm: bool = False,
    use_k_l2norm: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    cu_seqlens_cpu: torch.Tensor | None = None,
    *,
    use_qk_l2norm_in_kernel: bool = False,
    head_first: bool = False,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The gated Oja rule in chunks, forward and backward.

    q, k [B, T, H, K], v [B, T, H, V] of unit norm, beta [B, T, H]; gv [B, T, H, V] is a
    natural log, not positive. use_q_l2norm and use_k_l2norm give q and k unit norm,
    use_qk_l2norm_in_kernel both. scale multiplies q, K^-0.5 by default. initial_state
    [N, H, K, V], in float32 inside. cu_seqlens [N + 1] packs N sequences into a batch of
    1; cu_seqlens_cpu is not needed. chunk_size: 16, 32 or 64.

    Returns (o [B, T, H, V] in q's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens,
    DeprecationWarning for head_first=True.
    """
    name = "chunk_gated_oja_rule"
    check_layout(name, head_first, q, cu_seqlens)
    check_packed(name, q, cu_seqlens, initial_state)
    check_chunk(name, chunk_size, (16, 32, 64))
    return run(gated_oja_rule, "chunk", q=q, k=k, v=v, gv=gv, beta=beta, scale=default_scale(scale, k),
               normalise_q=use_q_l2norm or use_qk_l2norm_in_kernel,
               normalise_k=use_k_l2norm or use_qk_l2norm_in_kernel, initial_state=initial_state,
               output_final_state=output_final_state, cu_seqlens=cu_seqlens, chunk_size=chunk_size)
