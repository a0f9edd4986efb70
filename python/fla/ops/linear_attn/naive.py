"""Linear attention in plain PyTorch, as the paper writes it."""

from __future__ import annotations

import torch

from .utils import normalize_output

__all__ = ["naive_recurrent_linear_attn", "naive_chunk_linear_attn"]


def naive_recurrent_linear_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    initial_state: torch.Tensor | tuple | None = None,
    output_final_state: bool = False,
    scale: float | None = None,
    normalize: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | tuple | None]:
    """S_t = S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t, token by token in float32 (float64 if q is).

    q, k [B, T, H, K], v [B, T, H, V], states [B, H, K, V]. normalize divides by
    scale q.z, z the keys' sum; the state is then a pair of S and z [B, 1, H, K].
    """
    dtype = q.dtype
    q, k, v = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v))
    q = q * (q.shape[-1] ** -0.5 if scale is None else scale)
    S0, z0 = initial_state if normalize and isinstance(initial_state, (tuple, list)) else (initial_state, None)
    S = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1])
    S = S if S0 is None else S + S0
    outputs = []
    for q_t, k_t, v_t in zip(*(x.unbind(1) for x in (q, k, v))):
        S = S + k_t[..., None] * v_t[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    o, final = torch.stack(outputs, 1), S
    if normalize:
        z = k.cumsum(1) if z0 is None else k.cumsum(1) + z0
        o, final = o / ((q * z).sum(-1, keepdim=True) + 1e-10), (S, z[:, -1:])
    return o.to(dtype), final if output_final_state else None


def naive_chunk_linear_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    normalize: bool = False,
    chunk_size: int = 64,
) -> torch.Tensor:
    """The same in chunks: scores inside a chunk, the sum of k v^T from one to the next."""
    dtype = q.dtype
    q, k, v = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v))
    q = q * (q.shape[-1] ** -0.5 if scale is None else scale)
    S, outputs = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1]), []
    for start in range(0, q.shape[1], chunk_size):
        qc, kc, vc = (x[:, start:start + chunk_size].transpose(1, 2) for x in (q, k, v))
        outputs.append((qc @ S + (qc @ kc.transpose(-1, -2)).tril() @ vc).transpose(1, 2))
        S = S + kc.transpose(-1, -2) @ vc
    o = torch.cat(outputs, 1)
    return (normalize_output(q, k, o) if normalize else o).to(dtype)
