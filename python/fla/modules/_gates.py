"""Gate functions with their slopes, for the modules that write their own backward.

Both take and give float32 or float64 tensors of any shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

__all__ = ["GATES", "Gate", "power_gate", "gate_named"]


class Gate(NamedTuple):
    """A function of one number and its derivative, both element by element."""

    value: Callable[[torch.Tensor], torch.Tensor]
    slope: Callable[[torch.Tensor], torch.Tensor]


def _swish_slope(x: torch.Tensor) -> torch.Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


def _sigmoid_slope(x: torch.Tensor) -> torch.Tensor:
    s = torch.sigmoid(x)
    return s * (1 - s)


_SWISH = Gate(F.silu, _swish_slope)
GATES = {"swish": _SWISH, "silu": _SWISH, "sigmoid": Gate(torch.sigmoid, _sigmoid_slope)}


def gate_named(name: str) -> Gate:
    """The gate called swish, silu or sigmoid. Raises ValueError for another name."""
    if name not in GATES:
        raise ValueError(f"expected an activation among {', '.join(GATES)}, got {name!r}")
    return GATES[name]


def power_gate(power: float) -> Gate:
    """The power linear unit (arXiv:2605.25704): swish left of zero, x^(power/(sqrt(x)+1)) sigmoid(x) right of it."""

    def positive(x: torch.Tensor) -> torch.Tensor:
        # Where x is not positive the other branch is taken: 1 keeps the roots and logarithms finite.
        return torch.where(x > 0, x, torch.ones_like(x))

    def value(x: torch.Tensor) -> torch.Tensor:
        p = positive(x)
        grown = torch.exp(power / (p.sqrt() + 1) * p.log())
        return torch.where(x > 0, grown, x) * torch.sigmoid(x)

    def slope(x: torch.Tensor) -> torch.Tensor:
        p, root = positive(x), positive(x).sqrt()
        exponent = power / (root + 1)
        fall = -power / (2 * root * (root + 1).square())
        growth = fall * p.log() + exponent / p + 1 - torch.sigmoid(p)
        return torch.where(x > 0, torch.exp(exponent * p.log()) * torch.sigmoid(p) * growth, _swish_slope(x))

    return Gate(value, slope)
