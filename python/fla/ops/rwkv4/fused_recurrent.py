"""RWKV-4 token by token."""

from __future__ import annotations

import torch

from fla.lang import load

__all__ = ["fused_recurrent_rwkv4"]

RWKV4 = load("rwkv4")


def fused_recurrent_rwkv4(
    w: torch.Tensor,
    u: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """RWKV-4's WKV, forward and backward.

    w, u [C]: the log of the decay is -e^w, u is the bonus of a token itself. k, v
    [B, T, C]. state [B, 3, 1, C]: the weighted sum of the values and the sum of the
    weights, both relative to e^m, and m, the largest exponent so far (a large negative
    number, or minus infinity, before the first token).

    Returns (wkv [B, T, C] in k's dtype, state after the last token in float32).
    Raises ValueError for a state of another shape.
    """
    batch, _, width = k.shape
    if tuple(state.shape) != (batch, 3, 1, width):
        raise ValueError(f"fused_recurrent_rwkv4: state: expected shape {[batch, 3, 1, width]}, "
                         f"got {list(state.shape)}")
    decay = -w.to(torch.promote_types(w.dtype, torch.float32)).exp()
    o, final = RWKV4(decay, u, k, v, initial_state=tuple(state.unbind(1)), output_final_state=True, form="recurrent")
    return o.squeeze(2), torch.stack(final, 1)
