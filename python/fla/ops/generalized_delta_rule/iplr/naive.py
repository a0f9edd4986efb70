"""The identity-plus-low-rank delta rule in plain PyTorch; head first: q, k, v [B, H, T, D]."""

from __future__ import annotations

import torch

from ..dplr.naive import dplr_chunkwise, dplr_recurrence

__all__ = ["iplr_recurrence", "iplr_chunkwise"]


def iplr_recurrence(q, k, v, alpha, beta, initial_state=None, output_final_state: bool = True):
    """S_t = (I + beta_t alpha_t^T) S_{t-1} + k_t v_t^T, o_t = K^-0.5 S_t^T q_t, token by token.

    q, k, alpha, beta [B, H, T, K], v [B, H, T, V], states [B, H, K, V]: the diagonal of ones, e^0, of dplr_recurrence.
    """
    return dplr_recurrence(q, k, v, alpha, beta, torch.zeros_like(q), initial_state, output_final_state)


def iplr_chunkwise(q, k, v, alpha, beta, initial_state=None, output_final_state: bool = True, chunk_size: int = 32):
    """The same in chunks."""
    return dplr_chunkwise(q, k, v, alpha, beta, torch.zeros_like(q), initial_state, output_final_state, chunk_size)
