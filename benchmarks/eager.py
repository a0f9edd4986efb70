"""The chunk algorithms in eager PyTorch that the compiled operators are timed against.

Both take q, k [B,T,H,K], v [B,T,H,V], gates g [B,T,H] (natural logs) and scale q by
K^-0.5, as transformers does.
"""

from __future__ import annotations

import logging

import torch
from torch.nn import functional as F

__all__ = ["gated_delta_rule", "simple_gla"]


def gated_delta_rule(q, k, v, g, beta, chunk_size: int = 64):
    """transformers' torch_chunk_gated_delta_rule: what Qwen3-Next runs on a CPU."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule
    return torch_chunk_gated_delta_rule(q, k, v, g, beta, chunk_size=chunk_size)[0]


def simple_gla(q, k, v, g, chunk_size: int = 64):
    """S <- e^g S + k v^T, o = S^T q: scores inside the chunks, one state from chunk to chunk.

    All chunks' scores and increments are batched products; the loop over chunks
    only decays and adds states.
    """
    B, T, H, K = q.shape
    pad = -T % chunk_size
    chunks = lambda x: F.pad(x, (0, 0) * (x.dim() - 2) + (0, pad)).transpose(1, 2).unflatten(2, (-1, chunk_size))
    q, k, v, g = chunks(q * K**-0.5), chunks(k), chunks(v), chunks(g).cumsum(-1)
    decay = (g[..., :, None] - g[..., None, :]).tril().exp().tril()
    inside = (q @ k.transpose(-1, -2) * decay) @ v
    updates = (k * (g[..., -1:] - g).exp()[..., None]).transpose(-1, -2) @ v
    ends = g[..., -1].exp()[..., None, None]
    state, before = torch.zeros_like(updates[:, :, 0]), []
    for i in range(updates.shape[2]):
        before.append(state)
        state = state * ends[:, :, i] + updates[:, :, i]
    o = inside + (q * g.exp()[..., None]) @ torch.stack(before, 2)
    return o.flatten(2, 3)[:, :, :T].transpose(1, 2)
