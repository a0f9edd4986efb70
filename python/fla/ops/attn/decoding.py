"""Softmax attention of one new token a sequence over the keys and values so far."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .._arguments import default_scale
from .parallel import with_sink

__all__ = ["attn_decoding_one_step"]


def _attend(q, k, v, g, scale: float, sink_bias) -> torch.Tensor:
    """q [1, 1, HQ, K] over k, v [1, T, H, D]; the gates after a key count."""
    bias = torch.zeros(1, 1, 1, k.shape[1], dtype=q.dtype, device=q.device)
    if g is not None:
        c = g.to(torch.promote_types(g.dtype, torch.float32)).cumsum(1).transpose(1, 2)[..., None, :]
        bias = (c[..., -1:] - c).to(q.dtype)
    if sink_bias is not None:
        k, v, bias = with_sink(k, v, bias, sink_bias)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    o = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    return o.transpose(1, 2)


def attn_decoding_one_step(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    scale: float | None = None,
    cu_seqlens: torch.Tensor | None = None,
    do_gate_scale: bool = False,
    *,
    sink_bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """One token of each of N sequences over its own packed keys.

    q [1, N, HQ, K], k [1, T, H, K], v [1, T, H, V], where H divides HQ; cu_seqlens [N + 1]
    says whose keys are whose. scale is K^-0.5 by default. g [1, T, HQ] is a natural log,
    multiplied by scale with do_gate_scale: a score decays by the gates after its key.
    sink_bias [HQ] is the score of a token without a value.

    Returns o [1, N, HQ, V] in v's dtype, zero for a sequence without keys. Raises
    ValueError without cu_seqlens or for another number of sequences.
    """
    name = "attn_decoding_one_step"
    if cu_seqlens is None or q.shape[:2] != (1, cu_seqlens.shape[0] - 1):
        raise ValueError(f"{name}: expected cu_seqlens [N + 1] and q [1, N, HQ, K], got "
                         f"{None if cu_seqlens is None else list(cu_seqlens.shape)} and {list(q.shape)}")
    scale = default_scale(scale, k)
    g = g * scale if g is not None and do_gate_scale else g
    outputs, offsets = [], cu_seqlens.tolist()
    for i, (a, b) in enumerate(zip(offsets, offsets[1:])):
        if a == b:
            outputs.append(v.new_zeros(1, 1, q.shape[2], v.shape[-1]))
        else:
            gates = None if g is None else g[:, a:b]
            outputs.append(_attend(q[:, i:i + 1], k[:, a:b], v[:, a:b], gates, scale, sink_bias))
    return torch.cat(outputs, 1).to(v.dtype)
