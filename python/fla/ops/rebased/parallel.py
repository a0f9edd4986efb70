"""ReBased of whole sequences."""

from __future__ import annotations

import torch

from .._arguments import check_layout
from .._calls import run
from .definition import REBASED, rebased_sums

__all__ = ["parallel_rebased"]


def parallel_rebased(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    eps: float = 1e-5,
    use_scale: bool = True,
    use_normalize: bool = True,
    return_both: bool = False,
    head_first: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """ReBased, forward and backward.

    q, k [B, T, H, D], v [B, T, H, V]; use_scale multiplies q by D^-0.5. use_normalize
    divides by the scores' sums plus eps. The state has D^2 rows.

    Returns o [B, T, H, V] in q's dtype; with return_both the undivided o, head first
    [B, H, T, V], and the sums z [B, H, T]. Raises DeprecationWarning for head_first=True.
    """
    check_layout("parallel_rebased", head_first, q)
    scale = q.shape[-1] ** -0.5 if use_scale else 1.0
    if use_normalize and not return_both:
        return run(REBASED, "chunk", q=q, k=k, v=v, scale=scale, eps=eps)[0]
    sums, _ = run(rebased_sums, "chunk", q=q, k=k, v=v, scale=scale)
    o, z = sums[..., :-1], sums[..., -1]
    return (o.transpose(1, 2), z.transpose(1, 2)) if return_both else o
