"""A loss of the logits of a linear map, chunk of tokens by chunk: the whole [N, V] never exists.

The gradients of the tokens and of the map are computed on the way forward, where the
chunk's logits are at hand, and multiplied by the loss's gradient on the way back.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

__all__ = ["HeadGradients", "chunks", "scaled"]


def chunks(tokens: int, width: int, classes: int, most: int) -> Iterator[slice]:
    """Slices of the tokens: as many as make [chunk, V] no larger than [N, H], but at most about ``most``.

    Their size is a power of two, so that the last one alone may be smaller.
    """
    count = max(1, min(most, -(-classes // max(width, 1))))
    size = 1 << (max(1, -(-tokens // count)) - 1).bit_length()
    return (slice(start, min(start + size, tokens)) for start in range(0, tokens, size))


def _is_slow(weight: torch.Tensor) -> bool:
    """Whether products with the weight are quicker in float32: a CPU's in float16 are two orders of magnitude slower."""
    return weight.device.type == "cpu" and weight.dtype == torch.float16


class HeadGradients:
    """The gradients of x [N, H], weight [V, H] and bias [V] or None, as far as ``needed`` says; others stay None."""

    def __init__(self, x, weight, bias, needed: tuple[bool, bool, bool], in_fp32: bool):
        def zeros(t: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(t, dtype=torch.float32 if in_fp32 and t.dtype != torch.float64 else t.dtype)

        self.dx = torch.zeros_like(x) if needed[0] else None
        self.dw = zeros(weight) if needed[1] else None
        self.db = zeros(bias) if bias is not None and needed[2] else None
        self.x = x
        self.weight = weight.float() if _is_slow(weight) else weight

    @property
    def any(self) -> bool:
        """Whether one is wanted at all."""
        return any(t is not None for t in (self.dx, self.dw, self.db))

    def add(self, rows: slice, dlogits: torch.Tensor) -> None:
        """Adds what the logits' gradient [chunk, V], float32 or float64, means for the three."""
        small = dlogits.to(self.x.dtype)
        if self.dx is not None:
            self.dx[rows] = dlogits.to(self.weight.dtype) @ self.weight
        if self.dw is not None:
            wide = self.dw.dtype
            self.dw.addmm_(small.t().to(wide), self.x[rows].to(wide))
        if self.db is not None:
            self.db += dlogits.sum(0).to(self.db.dtype)

    def results(self, *owners: torch.Tensor | None) -> tuple:
        """The gradients in the dtypes of the x, weight and bias that they belong to."""
        return tuple(None if g is None else g.to(owner.dtype)
                     for g, owner in zip((self.dx, self.dw, self.db), owners))


def scaled(gradients: tuple, factor: torch.Tensor) -> tuple:
    """Each gradient times the loss's, None where there is none."""
    return tuple(None if g is None else g * factor.to(g.dtype) for g in gradients)
