"""One token through the short convolution: the state moves on by one column."""

from __future__ import annotations

import torch

from .._gates import gate_named
from .._precision import wide
from ._arguments import check_activation, check_weight, state_of_width

__all__ = ["advance", "causal_conv1d_update", "causal_conv1d_update_cuda"]


def advance(x, state, residual, weight, bias, activation):
    """``x [N, D]`` and a state [N, D, S], S >= W-1: y [N, D] in the dtype of x and the new state [N, D, S]."""
    window = torch.cat([state, x.to(state.dtype).unsqueeze(-1)], -1)
    y = (wide(window[..., window.shape[-1] - weight.shape[1]:]) * wide(weight)).sum(-1)
    y = y if bias is None else y + wide(bias)
    y = y if activation is None else gate_named(activation).value(y)
    y = y if residual is None else y + wide(residual)
    return y.to(x.dtype), window[..., 1:]


def _store(state: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """The new state in the old one's memory, unless a gradient has to pass: then the new one."""
    if torch.is_grad_enabled() and (state.requires_grad or new.requires_grad):
        return new
    return state.copy_(new)


def causal_conv1d_update(
    x: torch.Tensor,
    cache: torch.Tensor | None,
    residual: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    activation: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token of each of N sequences.

    Args:
        x: N*D numbers: [N, D], [N, 1, D], [1, N, D] or with heads [N, 1, H, D/H].
        cache: the last inputs [N, D, W], newest last; zeros for None. It is updated in
            place, except while autograd records a gradient through it.
        residual: like x or None; weight: [D, W]; bias: [D] or None; activation: silu, swish or None.

    Returns:
        y like x and the cache. Raises ValueError for shapes or an activation that do not fit.
    """
    check_activation(activation)
    check_weight(weight, bias)
    channels, width = weight.shape
    if x.numel() % channels:
        raise ValueError(f"expected x of shape [N, {channels}], the channels of the weight, got {tuple(x.shape)}")
    rows = x.reshape(-1, channels)
    residual = None if residual is None else residual.reshape(rows.shape)
    if cache is None:
        cache = x.new_zeros(rows.shape[0], channels, width)
    state_of_width(cache, rows.shape[0], channels, width)
    y, state = advance(rows, cache, residual, weight, bias, activation)
    return y.reshape(x.shape), _store(cache, state)


def causal_conv1d_update_cuda(x: torch.Tensor, conv_state: torch.Tensor, weight: torch.Tensor,
                              bias: torch.Tensor | None = None, activation: str | None = None) -> torch.Tensor:
    """The same step with the arguments of the package causal-conv1d, on any device.

    ``x`` is [N, D], or [N, D, T] for several tokens; ``conv_state [N, D, S]``, S >= W-1, is
    updated in place. Returns y like x.
    """
    if x.dim() == 2:
        return causal_conv1d_update(x, conv_state, weight=weight, bias=bias, activation=activation)[0]
    tokens = x.unbind(-1)
    return torch.stack([causal_conv1d_update_cuda(t, conv_state, weight, bias, activation) for t in tokens], -1)
