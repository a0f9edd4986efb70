"""RWKV-6 in chunks in plain PyTorch; head first: q, k, v, w [B, H, T, D], u [H, K]. w is a natural log."""

from __future__ import annotations

import torch

from ..kda.naive import gated_scores

__all__ = ["naive_chunk_rwkv6"]


def naive_chunk_rwkv6(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    chunk_size: int = 32,
) -> torch.Tensor:
    """o of naive_recurrent_rwkv6 with scale 1: scores inside a chunk, the state from one to the next."""
    dtype = q.dtype
    q, k, v, w, u = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v, w, u))
    S, outputs = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1]), []
    for start in range(0, q.shape[2], chunk_size):
        qc, kc, vc, wc = (x[:, :, start:start + chunk_size] for x in (q, k, v, w))
        c = wc.cumsum(-2)
        undecayed = qc * (-wc).exp()  # a token reads what it has not decayed yet
        present = (qc * u[:, None] * kc).sum(-1, keepdim=True) * vc
        outputs.append((qc * (c - wc).exp()) @ S + gated_scores(undecayed, kc, c).tril(-1) @ vc + present)
        S = c[..., -1, :].exp()[..., None] * S + (kc * (c[..., -1:, :] - c).exp()).transpose(-1, -2) @ vc
    return torch.cat(outputs, 2).to(dtype)
