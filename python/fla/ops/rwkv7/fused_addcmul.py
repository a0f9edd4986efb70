"""RWKV-7's token shift: one mixture of a token and its predecessor for each of six uses."""

from __future__ import annotations

import torch

__all__ = ["fused_addcmul_rwkv7", "torch_addcmul_rwkv7"]


def torch_addcmul_rwkv7(hidden_states, delta, xr, xw, xk, xv, xa, xg=None) -> tuple[torch.Tensor | None, ...]:
    """hidden_states + delta * x for each of the six mixtures x, the last None where xg is."""
    return tuple(None if x is None else torch.addcmul(hidden_states, delta, x) for x in (xr, xw, xk, xv, xa, xg))


class _Mixtures(torch.autograd.Function):
    """The mixtures that are given; gradients are summed in float32 and rounded once."""

    @staticmethod
    def forward(ctx, hidden_states, delta, *mixtures):
        ctx.save_for_backward(delta, *mixtures)
        return tuple(torch.addcmul(hidden_states, delta, x) for x in mixtures)

    @staticmethod
    def backward(ctx, *grads):
        delta, *mixtures = ctx.saved_tensors
        compute = torch.promote_types(delta.dtype, torch.float32)
        wide, grads = delta.to(compute), [g.to(compute) for g in grads]
        d_hidden = sum(grads).to(delta.dtype)
        d_delta = sum(g * x.to(compute) for g, x in zip(grads, mixtures)).to(delta.dtype)
        return d_hidden, d_delta, *((g * wide).sum_to_size(x.shape).to(x.dtype) for g, x in zip(grads, mixtures))


def fused_addcmul_rwkv7(
    hidden_states: torch.Tensor,
    delta: torch.Tensor,
    xr: torch.Tensor,
    xw: torch.Tensor,
    xk: torch.Tensor,
    xv: torch.Tensor,
    xa: torch.Tensor,
    xg: torch.Tensor | None = None,
) -> tuple[torch.Tensor | None, ...]:
    """hidden_states + delta * x for each of the six mixtures x, the last None where xg is.

    hidden_states [B, T, D], delta (predecessor minus token) as large, x [1, 1, D]; gradients
    are summed in float32.
    """
    given = [x for x in (xr, xw, xk, xv, xa, xg) if x is not None]
    mixed = _Mixtures.apply(hidden_states, delta, *given)
    return mixed if xg is not None else (*mixed, None)
