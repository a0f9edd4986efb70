"""HGRN in chunks."""

from __future__ import annotations

import torch

from fla.lang import load

from .._arguments import check_packed
from .._calls import run

__all__ = ["chunk_hgrn", "hgrn"]

HGRN = load("hgrn")


def hgrn(name: str, form: str, x, g, initial_state, output_final_state: bool, cu_seqlens):
    """HGRN in either form; the channels are one head."""
    check_packed(name, x, cu_seqlens, initial_state)
    o, final = run(HGRN, form, x=x, g=g, initial_state=initial_state, output_final_state=output_final_state,
                   cu_seqlens=cu_seqlens)
    return o.squeeze(2), None if final is None else final.squeeze(1)


def chunk_hgrn(
    x: torch.Tensor,
    g: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    *,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """HGRN in chunks, forward and backward.

    x [B, T, D]; g [B, T, D] is a natural log, not positive. initial_state [N, D], in
    float32 inside. cu_seqlens [N + 1] packs N sequences into a batch of 1.

    Returns (o [B, T, D] in x's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens.
    """
    return hgrn("chunk_hgrn", "chunk", x, g, initial_state, output_final_state, cu_seqlens)
