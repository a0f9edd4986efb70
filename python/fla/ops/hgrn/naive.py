"""HGRN in plain PyTorch, as the paper writes it. g is a natural log."""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_hgrn", "naive_chunk_hgrn"]


def naive_recurrent_hgrn(
    x: torch.Tensor,
    g: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """h_t = e^{g_t} h_{t-1} + x_t, token by token in float32 (float64 if x is); x, g [B, T, D], states [B, D]."""
    dtype = x.dtype
    x, g = (y.to(torch.promote_types(dtype, torch.float32)) for y in (x, g))
    h = x.new_zeros(x.shape[0], x.shape[2])
    h = h if initial_state is None else h + initial_state
    outputs = []
    for x_t, g_t in zip(x.unbind(1), g.unbind(1)):
        h = g_t.exp() * h + x_t
        outputs.append(h)
    return torch.stack(outputs, 1).to(dtype), h if output_final_state else None


def naive_chunk_hgrn(
    x: torch.Tensor,
    g: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    chunk_size: int = 64,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The same in chunks: each from zero, plus what is left of the chunk before."""
    h, outputs = initial_state, []
    for start in range(0, x.shape[1], chunk_size):
        piece = slice(start, start + chunk_size)
        o, _ = naive_recurrent_hgrn(x[:, piece].to(torch.promote_types(x.dtype, torch.float32)), g[:, piece])
        if h is not None:
            o = o + g[:, piece].to(o.dtype).cumsum(1).exp() * h[:, None]
        outputs.append(o)
        h = o[:, -1]
    return torch.cat(outputs, 1).to(x.dtype), h if output_final_state else None
