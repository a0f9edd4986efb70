"""The identity-plus-low-rank delta rule token by token."""

from __future__ import annotations

import torch

from ..._arguments import check_packed, default_scale
from ..._calls import run
from .chunk import IPLR

__all__ = ["fused_recurrent_iplr_delta_rule"]


def fused_recurrent_iplr_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The identity-plus-low-rank delta rule token by token, forward; the backward goes in chunks.

    As chunk_iplr_delta_rule.
    """
    check_packed("fused_recurrent_iplr_delta_rule", q, cu_seqlens, initial_state)
    return run(IPLR, "recurrent", q=q, k=k, v=v, a=a, b=b, scale=default_scale(scale, k), initial_state=initial_state,
               output_final_state=output_final_state, cu_seqlens=cu_seqlens)
