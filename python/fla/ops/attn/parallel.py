"""Causal softmax attention of whole sequences, with grouped heads, windows, decays and sinks."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .._arguments import check_layout, check_packed, default_scale

__all__ = ["parallel_attn"]


def _bias(q: torch.Tensor, g: torch.Tensor | None, window_size: int | None) -> torch.Tensor:
    """What is added to the scores [B or 1, HQ or 1, T, T]: minus infinity where a token does not look."""
    at = torch.arange(q.shape[1], device=q.device)
    age = at[:, None] - at
    hidden = age < 0 if window_size is None else (age < 0) | (age >= window_size)
    bias = torch.zeros(1, 1, *age.shape, dtype=q.dtype, device=q.device)
    if g is not None:
        c = g.to(torch.promote_types(g.dtype, torch.float32)).cumsum(1).transpose(1, 2)
        bias = (c[..., :, None] - c[..., None, :]).to(q.dtype)
    return bias.masked_fill(hidden, float("-inf"))


def with_sink(k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor, sink_bias: torch.Tensor) -> tuple:
    """k and v [B, T, H, D] with a first token that takes weight and gives nothing, bias with its score a head."""
    k, v = (F.pad(x, (0, 0, 0, 0, 1, 0)) for x in (k, v))
    score = sink_bias.to(bias.dtype)[None, :, None, None]
    shape = torch.broadcast_shapes(bias.shape[:-1] + (1,), score.shape)
    bias = bias.expand(shape[0], shape[1], *bias.shape[-2:])
    return k, v, torch.cat((score.expand(*shape[:-1], 1), bias), -1)


def _attend(q, k, v, g, scale: float, window_size: int | None, sink_bias) -> torch.Tensor:
    plain = g is None and window_size is None and sink_bias is None
    bias = None if plain else _bias(q, g, window_size)
    if sink_bias is not None:
        k, v, bias = with_sink(k, v, bias, sink_bias)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    o = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=plain, scale=scale,
                                       enable_gqa=q.shape[1] != k.shape[1])
    return o.transpose(1, 2)


def parallel_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    scale: float | None = None,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    window_size: int | None = None,
    sink_bias: torch.Tensor | None = None,
    chunk_indices: torch.Tensor | None = None,
) -> torch.Tensor:
    """Causal softmax attention, forward and backward.

    q [B, T, HQ, K], k [B, T, H, K], v [B, T, H, V], where H divides HQ; scale is K^-0.5 by
    default. g [B, T, HQ] is a natural log: a score decays by the gates after its key.
    A token sees the last window_size tokens, itself included. sink_bias [HQ] is the
    score of a token without a value. cu_seqlens [N + 1] packs N sequences into a batch
    of 1; chunk_indices is not needed.

    Returns o [B, T, HQ, V] in q's dtype, zero past the last packed sequence. Raises
    ValueError for batch or head counts that do not go together, DeprecationWarning for
    head_first=True.
    """
    name = "parallel_attn"
    check_layout(name, head_first, q, cu_seqlens)
    check_packed(name, q, cu_seqlens)
    if q.shape[2] % k.shape[2]:
        raise ValueError(f"{name}: expected a number of q's heads that {k.shape[2]}, the number of k's, divides, "
                         f"got {q.shape[2]}")
    if sink_bias is not None and sink_bias.shape != q.shape[2:3]:
        raise ValueError(f"{name}: sink_bias: expected shape [HQ] = [{q.shape[2]}], got {list(sink_bias.shape)}")
    scale = default_scale(scale, k)
    if cu_seqlens is None:
        return _attend(q, k, v, g, scale, window_size, sink_bias)
    offsets = cu_seqlens.tolist()
    parts = [_attend(q[:, a:b], k[:, a:b], v[:, a:b], None if g is None else g[:, a:b], scale, window_size, sink_bias)
             for a, b in zip(offsets, offsets[1:]) if b > a]
    rest = q.new_zeros(1, q.shape[1] - offsets[-1], q.shape[2], v.shape[-1])
    return torch.cat([*parts, rest], 1)
