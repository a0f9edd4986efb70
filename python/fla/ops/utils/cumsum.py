"""Sums along time, of whole sequences or inside chunks."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .._arguments import check_chunk, check_packed, refuse_head_first

__all__ = ["chunk_local_cumsum", "chunk_local_cumsum_scalar", "chunk_local_cumsum_vector", "chunk_global_cumsum",
           "chunk_global_cumsum_scalar", "chunk_global_cumsum_vector"]


def _sums(x: torch.Tensor, axis: int, reverse: bool) -> torch.Tensor:
    return x.flip(axis).cumsum(axis).flip(axis) if reverse else x.cumsum(axis)


def _local(x: torch.Tensor, chunk: int, reverse: bool) -> torch.Tensor:
    """Sums inside chunks of x [B, T, ...]; the last chunk may be short."""
    tokens = x.shape[1]
    padded = F.pad(x, [0, 0] * (x.dim() - 2) + [0, -tokens % chunk])
    return _sums(padded.unflatten(1, (-1, chunk)), 2, reverse).flatten(1, 2)[:, :tokens]


def _by_sequence(x: torch.Tensor, cu_seqlens, sums) -> torch.Tensor:
    """`sums` of each packed sequence; rows past the last one are zero."""
    if cu_seqlens is None:
        return sums(x)
    offsets = cu_seqlens.tolist()
    parts = [sums(x[:, a:b]) for a, b in zip(offsets, offsets[1:]) if b > a]
    return torch.cat([*parts, torch.zeros_like(x[:, offsets[-1]:])], 1)


def _cumsum(name: str, x: torch.Tensor, scale, cu_seqlens, head_first: bool, output_dtype, sums, dims) -> torch.Tensor:
    """Sums in float32 (float64 if x is)."""
    refuse_head_first(name, head_first)
    if x.dim() not in dims:
        raise ValueError(f"{name}: expected shape {' or '.join({3: '[B, T, H]', 4: '[B, T, H, D]'}[d] for d in dims)}, "
                         f"got {list(x.shape)}")
    check_packed(name, x, cu_seqlens)
    out = _by_sequence(x.to(torch.promote_types(x.dtype, torch.float32)), cu_seqlens, sums)
    out = out if scale is None else out * scale
    return out.to(x.dtype if output_dtype is None else output_dtype)


def _chunked(name: str, g, chunk_size: int, reverse: bool, scale, cu_seqlens, head_first, output_dtype, dims):
    check_chunk(name, chunk_size)
    return _cumsum(name, g, scale, cu_seqlens, head_first, output_dtype, lambda x: _local(x, chunk_size, reverse), dims)


def _whole(name: str, s, reverse: bool, cu_seqlens, scale, head_first, output_dtype, dims):
    return _cumsum(name, s, scale, cu_seqlens, head_first, output_dtype, lambda x: _sums(x, 1, reverse), dims)


def chunk_local_cumsum(
    g: torch.Tensor,
    chunk_size: int,
    reverse: bool = False,
    scale: float | None = None,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    output_dtype: torch.dtype | None = torch.float,
    *,
    chunk_indices: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sums inside chunks, times scale: g [B, T, H] or [B, T, H, D], chunk_size a power of two up to 256.

    With reverse a token's sum is that of itself and what follows in its chunk. Chunks
    of packed sequences begin with them. Sums are in float32; output_dtype None gives
    them in g's dtype; chunk_indices is not needed. Raises ValueError for other shapes,
    chunk sizes, or a batch with cu_seqlens, DeprecationWarning for head_first=True.
    """
    return _chunked("chunk_local_cumsum", g, chunk_size, reverse, scale, cu_seqlens, head_first, output_dtype, (3, 4))


def chunk_local_cumsum_scalar(
    g: torch.Tensor,
    chunk_size: int,
    reverse: bool = False,
    scale: float | None = None,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    output_dtype: torch.dtype | None = torch.float,
    *,
    chunk_indices: torch.Tensor | None = None,
) -> torch.Tensor:
    """chunk_local_cumsum of [B, T, H]."""
    return _chunked("chunk_local_cumsum_scalar", g, chunk_size, reverse, scale, cu_seqlens, head_first, output_dtype,
                    (3,))


def chunk_local_cumsum_vector(
    g: torch.Tensor,
    chunk_size: int,
    reverse: bool = False,
    scale: float | None = None,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    output_dtype: torch.dtype | None = torch.float,
    *,
    chunk_indices: torch.Tensor | None = None,
) -> torch.Tensor:
    """chunk_local_cumsum of [B, T, H, D]."""
    return _chunked("chunk_local_cumsum_vector", g, chunk_size, reverse, scale, cu_seqlens, head_first, output_dtype,
                    (4,))


def chunk_global_cumsum(
    s: torch.Tensor,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    scale: float | None = None,
    head_first: bool = False,
    output_dtype: torch.dtype | None = torch.float,
) -> torch.Tensor:
    """Sums of whole sequences, times scale: s [B, T, H] or [B, T, H, D].

    With reverse a token's sum is that of itself and what follows. Sums are in float32;
    output_dtype None gives them in s's dtype. Raises ValueError for other shapes or a
    batch with cu_seqlens, DeprecationWarning for head_first=True.
    """
    return _whole("chunk_global_cumsum", s, reverse, cu_seqlens, scale, head_first, output_dtype, (3, 4))


def chunk_global_cumsum_scalar(
    s: torch.Tensor,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    scale: float | None = None,
    head_first: bool = False,
    output_dtype: torch.dtype | None = torch.float,
) -> torch.Tensor:
    """chunk_global_cumsum of [B, T, H]."""
    return _whole("chunk_global_cumsum_scalar", s, reverse, cu_seqlens, scale, head_first, output_dtype, (3,))


def chunk_global_cumsum_vector(
    s: torch.Tensor,
    reverse: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    scale: float | None = None,
    head_first: bool = False,
    output_dtype: torch.dtype | None = torch.float,
) -> torch.Tensor:
    """chunk_global_cumsum of [B, T, H, D]."""
    return _whole("chunk_global_cumsum_vector", s, reverse, cu_seqlens, scale, head_first, output_dtype, (4,))
