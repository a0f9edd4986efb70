"""The gated Oja rule token by token."""

from __future__ import annotations

import torch

from .._arguments import check_packed, default_scale
from .._calls import run
from .definition import gated_oja_rule

__all__ = ["fused_recurrent_gated_oja_rule"]


def fused_recurrent_gated_oja_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gv: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_q_l2norm: bool = False,
    use_k_l2norm: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    *,
    use_qk_l2norm_in_kernel: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The gated Oja rule token by token, forward; the backward goes in chunks.

    As chunk_gated_oja_rule; without gv nothing decays, and beta is 1 by default.
    """
    check_packed("fused_recurrent_gated_oja_rule", q, cu_seqlens, initial_state)
    return run(gated_oja_rule, "recurrent", q=q, k=k, v=v, gv=gv, beta=beta, scale=default_scale(scale, k),
               normalise_q=use_q_l2norm or use_qk_l2norm_in_kernel,
               normalise_k=use_k_l2norm or use_qk_l2norm_in_kernel, initial_state=initial_state,
               output_final_state=output_final_state, cu_seqlens=cu_seqlens)
