"""Inverses of unit lower triangular matrices, one a chunk."""

from __future__ import annotations

import torch

__all__ = ["solve_tril"]


def _inverse(A: torch.Tensor) -> torch.Tensor:
    """(I + tril(A, -1))^-1 of A [..., C, C]."""
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    return torch.linalg.solve_triangular(A.tril(-1) + eye, eye.expand_as(A), upper=False, unitriangular=True)


def _of_sequence(A: torch.Tensor) -> torch.Tensor:
    """The inverses of A [B, T, H, C], row t of which is a row of its chunk; a short last chunk is padded."""
    batch, tokens, heads, chunk = A.shape
    whole = torch.nn.functional.pad(A, (0, 0, 0, 0, 0, -tokens % chunk)).unflatten(1, (-1, chunk))
    inverse = _inverse(whole.transpose(2, 3)).transpose(2, 3).flatten(1, 2)[:, :tokens]
    left = tokens % chunk
    if left:  # columns of tokens that are not there
        inverse[:, tokens - left:, :, left:] = 0
    return inverse


def solve_tril(
    A: torch.Tensor,
    cu_seqlens: torch.Tensor | None = None,
    output_dtype: torch.dtype | None = torch.float,
    *,
    chunk_indices: torch.Tensor | None = None,
) -> torch.Tensor:
    """(I + A)^-1 for the strictly lower triangular A of each chunk.

    A [B, T, H, C] has row t of its chunk's matrix at token t; C is 16, 32 or 64. Chunks
    of packed sequences begin with them; chunk_indices is not needed. The result, as
    large, is computed in float32 and given in output_dtype (A's if None). Raises
    ValueError for another C or a batch with cu_seqlens.
    """
    if A.shape[-1] not in (16, 32, 64):
        raise ValueError(f"solve_tril: expected chunks of 16, 32 or 64 tokens, got {A.shape[-1]}")
    wide = A.to(torch.promote_types(A.dtype, torch.float32))
    if cu_seqlens is None:
        out = _of_sequence(wide)
    else:
        if A.shape[0] != 1:
            raise ValueError(f"solve_tril: expected batch size 1 with cu_seqlens, got {A.shape[0]}")
        offsets = cu_seqlens.tolist()
        parts = [_of_sequence(wide[:, a:b]) for a, b in zip(offsets, offsets[1:]) if b > a]
        out = torch.cat([*parts, torch.zeros_like(wide[:, offsets[-1]:])], 1)
    return out.to(A.dtype if output_dtype is None else output_dtype)
