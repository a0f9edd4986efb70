"""The delta rule token by token."""

from __future__ import annotations

import torch

from ..gated_delta_rule.definition import gated_delta_rule
from .._arguments import check_packed, default_scale
from .._calls import run
from .._columns import in_columns

__all__ = ["fused_recurrent_delta_rule"]


def fused_recurrent_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The delta rule token by token, forward; the backward goes in chunks.

    As chunk_delta_rule. beta None is 1; it may be [B, T, H, V], a rate for each channel
    of the values.
    """
    check_packed("fused_recurrent_delta_rule", q, cu_seqlens, initial_state)
    call = run if beta is None or beta.dim() == 3 else in_columns
    return call(gated_delta_rule, "recurrent", q=q, k=k, v=v, beta=beta, scale=default_scale(scale, k),
                normalise=use_qk_l2norm_in_kernel, initial_state=initial_state,
                output_final_state=output_final_state, cu_seqlens=cu_seqlens)
