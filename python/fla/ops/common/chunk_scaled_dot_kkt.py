"""The scores of a chunk's keys among themselves, as the delta rules solve them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .._arguments import check_packed

__all__ = ["chunk_scaled_dot_kkt_fwd"]


def _of_sequence(k: torch.Tensor, beta: torch.Tensor, g, gk, chunk: int) -> torch.Tensor:
    tokens = k.shape[1]
    pieces = lambda x: F.pad(x, [0, 0] * (x.dim() - 2) + [0, -tokens % chunk]).unflatten(1, (-1, chunk)).transpose(2, 3)
    k, beta = pieces(k), pieces(beta[..., None])
    if gk is not None:
        c = pieces(gk)
        decay = (c[..., :, None, :] - c[..., None, :, :]).clamp(max=0).exp()
        scores = torch.einsum("bnhik,bnhjk,bnhijk->bnhij", k, k, decay)
    else:
        scores = k @ k.transpose(-1, -2)
    if g is not None:
        c = pieces(g[..., None])
        scores = scores * (c - c.transpose(-1, -2)).clamp(max=0).exp()
    return (beta * scores).tril(-1).transpose(2, 3).flatten(1, 2)[:, :tokens]


def chunk_scaled_dot_kkt_fwd(
    k: torch.Tensor,
    g: torch.Tensor | None = None,
    gk: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    cu_seqlens: torch.Tensor | None = None,
    chunk_size: int = 64,
    output_dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """A_ij = beta_i e^{g_i - g_j} k_i.k_j for j < i in i's chunk, 0 elsewhere: row i at token i, [B, T, H, C].

    k [B, T, H, K], beta [B, T, H]; g [B, T, H] and gk [B, T, H, K] are natural logs summed
    inside chunks. In float32 inside. Raises ValueError for a batch with cu_seqlens.
    """
    check_packed("chunk_scaled_dot_kkt_fwd", k, cu_seqlens)
    compute = torch.promote_types(k.dtype, torch.float32)
    beta = k.new_ones(k.shape[:3]) if beta is None else beta
    k, beta, g, gk = (None if x is None else x.to(compute) for x in (k, beta, g, gk))
    if cu_seqlens is None:
        return _of_sequence(k, beta, g, gk, chunk_size).to(output_dtype)
    offsets, cut = cu_seqlens.tolist(), lambda x, a, b: None if x is None else x[:, a:b]
    parts = [_of_sequence(*(cut(x, a, b) for x in (k, beta, g, gk)), chunk_size)
             for a, b in zip(offsets, offsets[1:]) if b > a]
    rest = k.new_zeros(1, k.shape[1] - offsets[-1], k.shape[2], chunk_size)
    return torch.cat([*parts, rest], 1).to(output_dtype)
