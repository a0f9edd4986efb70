"""Linear attention token by token with any of its gates."""

from __future__ import annotations

import torch

from .._arguments import check_packed, default_scale
from .._calls import run
from ..gla.chunk import GLA
from ..simple_gla.chunk import SIMPLE_GLA

__all__ = ["fused_recurrent"]


def fused_recurrent(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    g_gamma: torch.Tensor | None = None,
    gk: torch.Tensor | None = None,
    gv: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    *,
    state_v_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """fused_recurrent_simple_gla with g or g_gamma, fused_recurrent_gla with gk or gv.

    Gates a head beside gates a channel are added to those of the keys.
    """
    check_packed("fused_recurrent", q, cu_seqlens, initial_state)
    definition, gates = SIMPLE_GLA, {"g": g, "g_gamma": g_gamma}
    if gk is not None or gv is not None:
        heads = [x for x in (g, None if g_gamma is None else g_gamma.expand(*v.shape[:2], -1)) if x is not None]
        for x in heads:
            gk = x[..., None].expand(*x.shape, k.shape[-1]) if gk is None else gk + x[..., None]
        definition, gates = GLA, {"gk": gk, "gv": gv}
    return run(definition, "recurrent", q=q, k=k, v=v, **gates, scale=default_scale(scale, k),
               initial_state=initial_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
               reverse=reverse, state_v_first=state_v_first)
