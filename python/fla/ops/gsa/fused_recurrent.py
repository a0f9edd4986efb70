"""Gated slot attention token by token."""

from __future__ import annotations

import torch

from .._calls import reverse_tokens
from .chunk import slot_attention
from .slots import shares

__all__ = ["fused_recurrent_gsa", "fused_recurrent_gsa_inference"]


def fused_recurrent_gsa(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    s: torch.Tensor,
    g: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: tuple[torch.Tensor, torch.Tensor] | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
    """Gated slot attention token by token, forward; the backward goes in chunks.

    As chunk_gsa. With reverse the recurrence runs from the last token to the first.
    """
    if g is None and reverse:  # the past is then what comes after
        s, g = (reverse_tokens(x, cu_seqlens) for x in shares(reverse_tokens(s, cu_seqlens), cu_seqlens))
    return slot_attention("fused_recurrent_gsa", "recurrent", q, k, v, s, g, scale, initial_state,
                          output_final_state, cu_seqlens, reverse=reverse)


@torch.no_grad()
def fused_recurrent_gsa_inference(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    s: torch.Tensor,
    g: torch.Tensor,
    initial_state: tuple[torch.Tensor, torch.Tensor] | None = None,
    output_final_state: bool = False,
    scale: float = 1.0,
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
    """fused_recurrent_gsa without gradients, with scale 1 by default."""
    return fused_recurrent_gsa(q, k, v, s, g, scale, initial_state, output_final_state)
