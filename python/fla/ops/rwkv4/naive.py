"""RWKV-4's WKV in plain PyTorch, in the paper's stable form."""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_rwkv4"]


def naive_recurrent_rwkv4(w, u, k, v, state) -> tuple[torch.Tensor, torch.Tensor]:
    """fused_recurrent_rwkv4, token by token; w, u [C], k, v [B, T, C], state [B, 3, 1, C]."""
    num, den, m = state.squeeze(2).unbind(1)
    decay, outputs = -w.exp(), []
    for k_t, v_t in zip(k.unbind(1), v.unbind(1)):
        top = torch.maximum(m, u + k_t)
        past, now = (m - top).exp(), (u + k_t - top).exp()
        outputs.append((past * num + now * v_t) / (past * den + now))
        top = torch.maximum(m + decay, k_t)
        past, now = (m + decay - top).exp(), (k_t - top).exp()
        num, den, m = past * num + now * v_t, past * den + now, top
    return torch.stack(outputs, 1), torch.stack((num, den, m), 1).unsqueeze(2)
