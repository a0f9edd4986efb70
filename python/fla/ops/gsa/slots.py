"""Slots without a gate of their own: each token's share is that of a softmax over the past."""

from __future__ import annotations

import torch

__all__ = ["shares"]


def _of_one(s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    z = s.logcumsumexp(1)
    before = torch.cat((z[:, :1], z[:, :-1]), 1)  # nothing decays at the first token
    return (s - z).exp(), before - z


def shares(s: torch.Tensor, cu_seqlens: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """(e^{s_t - z_t}, z_{t-1} - z_t) with z_t = log(e^{s_1} + .. + e^{s_t}), in float32; s [B, T, H, M].

    The second is the natural-log gate that makes room for the first; it is 0 at a
    sequence's first token. Packed sequences begin anew.
    """
    s = s.to(torch.promote_types(s.dtype, torch.float32))
    if cu_seqlens is None:
        return _of_one(s)
    offsets = cu_seqlens.tolist()
    parts = [_of_one(s[:, a:b]) for a, b in zip(offsets, offsets[1:]) if b > a]
    rest = s.new_zeros(1, s.shape[1] - offsets[-1], *s.shape[2:])
    return tuple(torch.cat([*(part[i] for part in parts), rest], 1) for i in range(2))
