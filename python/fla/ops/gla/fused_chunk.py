"""The name of GLA in one kernel: how many there are is the compiler's choice."""

from __future__ import annotations

import torch

from .._arguments import check_layout
from .chunk import chunk_gla

__all__ = ["fused_chunk_gla"]


def fused_chunk_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    scale: float | None = -1,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    head_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """chunk_gla; see there. scale -1 or None stands for K^-0.5."""
    check_layout("fused_chunk_gla", head_first, q)
    return chunk_gla(q, k, v, g, None if scale == -1 else scale, initial_state, output_final_state)
