"""Based of whole sequences."""

from __future__ import annotations

import torch

from .._arguments import check_layout, default_scale
from .._calls import run
from .definition import BASED, based_sums

__all__ = ["parallel_based"]


def parallel_based(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    use_norm: bool = True,
    head_first: bool = False,
) -> torch.Tensor:
    """Based, forward and backward.

    q, k [B, T, H, D], v [B, T, H, V]; scale multiplies q, D^-0.5 by default. use_norm
    divides by the scores' sums (plus 1e-6). The state has 1 + D + D^2 rows.

    Returns o [B, T, H, V] in q's dtype. Raises DeprecationWarning for head_first=True.
    """
    check_layout("parallel_based", head_first, q)
    return run(BASED if use_norm else based_sums, "chunk", q=q, k=k, v=v, scale=default_scale(scale, q))[0]
