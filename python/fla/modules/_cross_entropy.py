"""Cross entropy of rows of logits and its gradient, the mathematics that both fused losses share.

With z = cap * tanh(scale * logits / cap) (no tanh without a cap), lse = log(sum(exp(z))), target
y, V classes and smoothing e, a row's loss is

    (1 - e) (lse - z_y) + e (lse - mean(z)) + s lse^2

Everything here is float32, or float64 for float64 logits. Rows that are ignored have loss
and gradient 0. A large vocabulary is walked through in blocks of rows, so that the float32
copies stay small next to the logits, and in a CPU's cache.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ._precision import wide

__all__ = ["Options", "blocks", "logit_gradient", "row_terms", "scores"]

_BLOCK_ELEMENTS = 1 << 26  # 256 MB of float32
_HOST_BLOCK_ELEMENTS = 1 << 19  # 2 MB: a logit's way back takes a sixth of the time that it takes through memory


class Options(NamedTuple):
    """What the loss is, apart from tensors."""

    ignore_index: int = -100
    label_smoothing: float = 0.0
    logit_scale: float = 1.0
    logit_softcapping: float | None = None
    lse_square_scale: float = 0.0


def blocks(logits: torch.Tensor) -> list[slice]:
    """Slices of the rows of ``logits [n, V]``, each of a bounded size; one empty slice for no rows."""
    rows, width = logits.shape
    small = logits.device.type == "cpu" and not torch.compiler.is_compiling()
    step = max(1, (_HOST_BLOCK_ELEMENTS if small else _BLOCK_ELEMENTS) // max(width, 1))
    return [slice(start, min(start + step, rows)) for start in range(0, max(rows, 1), step)]


def scores(logits: torch.Tensor, options: Options) -> torch.Tensor:
    """z of ``logits [n, V]``."""
    z = wide(logits)
    if options.logit_scale != 1.0:
        z = z * options.logit_scale
    if options.logit_softcapping:
        z = options.logit_softcapping * torch.tanh(z / options.logit_softcapping)
    return z


def row_terms(z: torch.Tensor, target: torch.Tensor, held: torch.Tensor, smoothing: float, classes: int):
    """What a row's loss takes besides its lse: -(1 - e) z_y - e sum(z) / V, where y is among z's classes.

    ``target [n]`` counts from z's first class and ``held [n]`` says where it is one of them.
    """
    picked = z.gather(-1, torch.where(held, target, 0).unsqueeze(-1)).squeeze(-1)
    terms = torch.where(held, (smoothing - 1) * picked, 0)
    return terms - smoothing * z.sum(-1) / classes if smoothing else terms


def logit_gradient(z: torch.Tensor, lse: torch.Tensor, target: torch.Tensor, held: torch.Tensor,
                   factor: torch.Tensor, options: Options, classes: int) -> torch.Tensor:
    """The gradient of logits [n, V] for that of the rows' losses, ``factor [n]``, zero for ignored rows.

    lse is that of all classes.
    """
    p = torch.exp(z - lse.unsqueeze(-1))
    if options.lse_square_scale:
        p = p * (1 + 2 * options.lse_square_scale * lse.unsqueeze(-1))
    if options.label_smoothing:
        p = p - options.label_smoothing / classes
    at = torch.where(held, target, 0).unsqueeze(-1)
    p = p.scatter_add(-1, at, torch.where(held, options.label_smoothing - 1, 0.0).to(p.dtype).unsqueeze(-1))
    if options.logit_softcapping:
        p = p * (1 - (z / options.logit_softcapping).square())
    return p * (factor * options.logit_scale).unsqueeze(-1)
