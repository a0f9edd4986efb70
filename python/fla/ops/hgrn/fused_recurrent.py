"""HGRN token by token."""

from __future__ import annotations

import torch

from .chunk import hgrn

__all__ = ["fused_recurrent_hgrn"]


def fused_recurrent_hgrn(
    x: torch.Tensor,
    g: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """HGRN token by token, forward; the backward goes in chunks. As chunk_hgrn."""
    return hgrn("fused_recurrent_hgrn", "recurrent", x, g, initial_state, output_final_state, cu_seqlens)
