"""Means of chunks."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .._arguments import check_packed, refuse_head_first

__all__ = ["mean_pooling"]


def _means(x: torch.Tensor, chunk: int) -> torch.Tensor:
    """[B, chunks, ...] of x [B, T, ...]; the last chunk may be short."""
    tokens = x.shape[1]
    padded = F.pad(x, [0, 0] * (x.dim() - 2) + [0, -tokens % chunk]).unflatten(1, (-1, chunk))
    counts = torch.full((padded.shape[1],), chunk, device=x.device)
    counts[-1] = tokens - (padded.shape[1] - 1) * chunk
    return padded.sum(2) / counts.view(-1, *[1] * (x.dim() - 2))


def mean_pooling(
    x: torch.Tensor,
    chunk_size: int,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
) -> torch.Tensor:
    """The mean of each chunk of x [B, T, H, D], in float32 inside: [B, chunks, H, D]; differentiable.

    Chunks of packed sequences begin with them, and are all in a row. Raises ValueError
    for a batch with cu_seqlens, DeprecationWarning for head_first=True.
    """
    refuse_head_first("mean_pooling", head_first)
    check_packed("mean_pooling", x, cu_seqlens)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if cu_seqlens is None:
        return _means(wide, chunk_size).to(x.dtype)
    offsets = cu_seqlens.tolist()
    return torch.cat([_means(wide[:, a:b], chunk_size) for a, b in zip(offsets, offsets[1:]) if b > a], 1).to(x.dtype)
