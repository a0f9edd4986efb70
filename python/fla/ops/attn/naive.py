"""Softmax attention in plain PyTorch."""

from __future__ import annotations

import torch

__all__ = ["naive_parallel_attn", "naive_attn_decoding"]


def _softmax(scores: torch.Tensor, sink_bias: torch.Tensor | None) -> torch.Tensor:
    """The weights of scores [B, HQ, T, S], less what the sinks take."""
    if sink_bias is None:
        return scores.softmax(-1)
    sink = sink_bias.to(scores.dtype)[None, :, None, None].expand(*scores.shape[:-1], 1)
    return torch.cat((sink, scores), -1).softmax(-1)[..., 1:]


def naive_parallel_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    window_size: int | None = None,
    causal: bool = True,
    *,
    g: torch.Tensor | None = None,
    sink_bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(softmax(scale Q K^T + decays) V, each token's largest score [B, T, HQ]), in float32 (float64 if q is).

    q [B, T, HQ, K], k [B, T, H, K], v [B, T, H, V], natural logs g [B, T, HQ]; a window counts
    where causal does.
    """
    dtype, group = q.dtype, q.shape[2] // k.shape[2]
    q, k, v = (x.to(torch.promote_types(dtype, torch.float32)).transpose(1, 2) for x in (q, k, v))
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if g is not None:
        c = g.to(scores.dtype).cumsum(1).transpose(1, 2)
        scores = scores + c[..., :, None] - c[..., None, :]
    at = torch.arange(q.shape[-2], device=q.device)
    age = at[:, None] - at
    hidden = (age < 0) if window_size is None else (age < 0) | (age >= window_size)
    scores = scores.masked_fill(hidden & causal, float("-inf"))
    o = (_softmax(scores, sink_bias) @ v).transpose(1, 2).to(dtype)
    largest = scores.amax(-1).transpose(1, 2)
    return o, largest if sink_bias is None else torch.maximum(largest, sink_bias.to(largest.dtype))


def naive_attn_decoding(
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
    """attn_decoding_one_step: the last row of naive_parallel_attn, sequence by sequence."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    g = g * scale if g is not None and do_gate_scale else g
    outputs, offsets = [], cu_seqlens.tolist()
    for i, (a, b) in enumerate(zip(offsets, offsets[1:])):
        if a == b:
            outputs.append(v.new_zeros(1, 1, q.shape[2], v.shape[-1]))
            continue
        queries = torch.cat((q.new_zeros(1, b - a - 1, *q.shape[2:]), q[:, i:i + 1]), 1)
        o, _ = naive_parallel_attn(queries, k[:, a:b], v[:, a:b], scale, g=None if g is None else g[:, a:b],
                                   sink_bias=sink_bias)
        outputs.append(o[:, -1:])
    return torch.cat(outputs, 1)
