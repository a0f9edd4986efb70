"""RWKV-7's output: the present token's bonus is added, and the result gated."""

from __future__ import annotations

import torch

from fla.modules._precision import cast

__all__ = ["gate_output_correction", "gate_output_correction_ref", "gate_output_correction_backward_ref"]


def gate_output_correction_ref(
    o: torch.Tensor,
    r: torch.Tensor,
    k: torch.Tensor,
    r_k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
) -> torch.Tensor:
    """(o + (r.(r_k k)) v) g: o, g [B, T, H D], r, k, v [B, T, H, D], r_k [H, D]."""
    bonus = (r * k * r_k).sum(-1, keepdim=True) * v
    return (o + bonus.reshape(o.shape)) * g


def gate_output_correction_backward_ref(grad_output, o, r, k, r_k, v, g) -> tuple[torch.Tensor, ...]:
    """The gradients of o, r, k, r_k, v and g."""
    product = r * k
    weight = (product * r_k).sum(-1, keepdim=True)
    d_o = grad_output * g
    d_bonus = d_o.reshape(v.shape)
    d_weight = (d_bonus * v).sum(-1, keepdim=True)
    d_g = grad_output * (o + (weight * v).reshape(o.shape))
    return d_o, d_weight * k * r_k, d_weight * r * r_k, (d_weight * product).sum((0, 1)), weight * d_bonus, d_g


class _GateOutputCorrection(torch.autograd.Function):
    """The correction with its arithmetic in float32 and rounded once."""

    @staticmethod
    def forward(ctx, *inputs):
        ctx.save_for_backward(*inputs)
        return cast(gate_output_correction_ref(*(x.float() for x in inputs)), inputs[0].dtype)

    @staticmethod
    def backward(ctx, grad):
        inputs = ctx.saved_tensors
        grads = gate_output_correction_backward_ref(grad.float(), *(x.float() for x in inputs))
        return tuple(d.to(x.dtype) for d, x in zip(grads, inputs))


def gate_output_correction(
    o: torch.Tensor,
    r: torch.Tensor,
    k: torch.Tensor,
    r_k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
) -> torch.Tensor:
    """(o + (r.(r_k k)) v) g, in float32 inside; shapes as gate_output_correction_ref's. Raises ValueError for r_k's."""
    if r_k.shape != r.shape[-2:]:
        raise ValueError(f"gate_output_correction: r_k: expected shape {list(r.shape[-2:])}, got {list(r_k.shape)}")
    return _GateOutputCorrection.apply(o, r, k, r_k, v, g)
