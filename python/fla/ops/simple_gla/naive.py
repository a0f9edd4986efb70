"""Simple GLA in plain PyTorch, as the papers write it. Gates are natural logs."""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_simple_gla", "naive_chunk_simple_gla", "naive_parallel_simple_gla"]


def naive_recurrent_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = e^{g_t} S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t, token by token in float32 (float64 if q is).

    q, k [B, T, H, K], v [B, T, H, V], g [B, T, H], states [B, H, K, V].
    """
    dtype = q.dtype
    compute = torch.promote_types(dtype, torch.float32)
    q, k, v = (x.to(compute) for x in (q, k, v))
    q = q * (q.shape[-1] ** -0.5 if scale is None else scale)
    S = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    gates = [None] * q.shape[1] if g is None else g.to(compute).unbind(1)
    for q_t, k_t, v_t, g_t in zip(q.unbind(1), k.unbind(1), v.unbind(1), gates):
        if g_t is not None:
            S = g_t[..., None, None].exp() * S
        S = S + k_t[..., None] * v_t[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    o = torch.stack(outputs, 1) if outputs else v.new_zeros(v.shape)
    return o.to(dtype), S if output_final_state else None


def naive_parallel_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(o [B, T, H, V], A [B, H, T, T]): A_ij = scale q_i.k_j e^{g_{j+1} + .. + g_i} for j <= i, o = A v; float32."""
    compute = torch.promote_types(q.dtype, torch.float32)
    q, k, v = (x.transpose(1, 2).to(compute) for x in (q, k, v))
    A = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if g is not None:
        c = g.transpose(1, 2).to(compute).cumsum(-1)
        A = A * (c[..., :, None] - c[..., None, :]).tril().exp()
    A = A.tril()
    return (A @ v).transpose(1, 2), A


def naive_chunk_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    chunk_size: int = 64,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The same in chunks: scores inside a chunk, the state from one to the next; float32."""
    compute = torch.promote_types(q.dtype, torch.float32)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    S = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1], dtype=compute)
    S = S if initial_state is None else S + initial_state
    outputs = []
    for start in range(0, q.shape[1], chunk_size):
        piece = slice(start, start + chunk_size)
        qc, kc, vc = (x[:, piece].to(compute).transpose(1, 2) for x in (q, k, v))
        inside, _ = naive_parallel_simple_gla(*(x.transpose(1, 2) for x in (qc, kc, vc)),
                                              None if g is None else g[:, piece], scale)
        c = qc.new_zeros(qc.shape[:-1]) if g is None else g[:, piece].to(compute).transpose(1, 2).cumsum(-1)
        outputs.append(inside + ((scale * qc * c.exp()[..., None]) @ S).transpose(1, 2))
        left = (c[..., -1:] - c).exp()[..., None]  # how much of each key is left at the chunk's end
        S = c[..., -1].exp()[..., None, None] * S + (kc * left).transpose(-1, -2) @ vc
    return torch.cat(outputs, 1), S if output_final_state else None
