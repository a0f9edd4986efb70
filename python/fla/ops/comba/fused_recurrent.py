"""Comba token by token."""

from __future__ import annotations

import torch

from .._arguments import check_packed, default_scale
from .._calls import run
from .definition import comba

__all__ = ["fused_recurrent_comba"]


def fused_recurrent_comba(
    q: torch.Tensor,
    k: torch.Tensor,
    p: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Comba token by token, forward; the backward goes in chunks.

    As chunk_comba, but p comes before v.
    """
    check_packed("fused_recurrent_comba", q, cu_seqlens, initial_state)
    return run(comba, "recurrent", q=q, k=k, v=v, p=p, g=g, beta=beta, scale=default_scale(scale, k),
               normalise=use_qk_l2norm_in_kernel, initial_state=initial_state, output_final_state=output_final_state,
               cu_seqlens=cu_seqlens)
