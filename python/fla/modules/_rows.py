"""Row-wise functions as definitions for the compiler: steps without a state, each token a row.

They compute what :mod:`fla.modules._norm` and :mod:`fla.modules.l2norm` do in plain PyTorch, for
inputs for which that is faster (docs/Rationale/row-wise-modules.md has the figures).
"""

from __future__ import annotations

import math

import torch

from fla.lang import Param, Vec, mean, recurrence, rsqrt, sigmoid, silu
from fla.lang import sum as total

__all__ = ["norm_rows", "unit_rows"]

_ACTIVATIONS = {"swish": silu, "silu": silu, "sigmoid": sigmoid}


@recurrence
def norm(x: Vec["D"], weight: Param["D"] | None = None, bias: Param["D"] | None = None, gate: Vec["D"] | None = None, *,
         eps: float, activation: str = "swish"):
    """act(gate) * (weight * x / size + bias)."""
    y = x * rsqrt(mean(x * x) + eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y if gate is None else y * _ACTIVATIONS[activation](gate)


@recurrence
def unit(x: Vec["D"], *, eps: float):
    """x over its Euclidean length."""
    return x * rsqrt(total(x * x) + eps)


def _tokens(rows: torch.Tensor) -> torch.Tensor:
    """Rows [R, D] as tokens [N, R/N, 1, D]: the sum that a parameter's gradient is runs along one of N sequences."""
    count = math.gcd(rows.shape[0], 32)
    return rows.reshape(count, rows.shape[0] // count, 1, rows.shape[1])


def _parameter(p: torch.Tensor | None) -> torch.Tensor | None:
    return None if p is None else p.unsqueeze(0)


def norm_rows(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, gate: torch.Tensor | None,
              eps: float, activation: str | None) -> torch.Tensor:
    """The RMS norm of rows [R, D], in the dtype of x; weight and bias are [D], the gate after it [R, D], or None."""
    y, _ = norm(_tokens(x), _parameter(weight), _parameter(bias), None if gate is None else _tokens(gate),
                eps=eps, activation=activation or "swish", form="chunk")
    return y.reshape(x.shape)


def unit_rows(x: torch.Tensor, eps: float) -> torch.Tensor:
    """Rows [R, D] of length one, in the dtype of x."""
    return unit(_tokens(x), eps=eps, form="chunk")[0].reshape(x.shape)
