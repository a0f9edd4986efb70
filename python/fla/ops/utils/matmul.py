"""Products of a matrix, or a batch of them, with a matrix."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["matmul", "addmm"]

_ACTIVATIONS = {"": lambda x: x, "leaky_relu": lambda x: F.leaky_relu(x, 0.01), "relu": torch.relu,
                "sigmoid": torch.sigmoid, "tanh": torch.tanh}


def _check(name: str, a: torch.Tensor, b: torch.Tensor) -> None:
    if a.dim() not in (2, 3) or b.dim() != 2 or a.shape[-1] != b.shape[0]:
        raise ValueError(f"{name}: expected a [M, K] or [B, M, K] and b [K, N], got {list(a.shape)}, {list(b.shape)}")


def matmul(a: torch.Tensor, b: torch.Tensor, activation: str = "") -> torch.Tensor:
    """activation(a b): a [M, K] or [B, M, K], b [K, N]; leaky_relu (slope 0.01), relu, sigmoid, tanh or none.

    Raises ValueError for other shapes or activations.
    """
    _check("matmul", a, b)
    activation = activation or ""
    if activation not in _ACTIVATIONS:
        raise ValueError(f"matmul: activation: expected one of {sorted(_ACTIVATIONS)}, got {activation!r}")
    return _ACTIVATIONS[activation](a @ b)


def addmm(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, alpha: float | None = None,
          beta: float | None = None) -> torch.Tensor:
    """beta x + alpha a b: x [N] or [M, N], a [M, K] or [B, M, K], b [K, N]; both numbers are 1 by default."""
    _check("addmm", a, b)
    product = a @ b
    product = product if alpha is None else alpha * product
    return product + (x if beta is None else beta * x)
