"""RWKV-7's token shift: one mixture of a token and its predecessor for each of six uses."""

from __future__ import annotations

import torch

__all__ = ["fused_addcmul_rwkv7", "torch_addcmul_rwkv7"]


def fused_addcmul_rwkv7(
    hidden_states: torch.Tensor,
    delta: torch.Tensor,
    xr: torch.Tensor,
    xw: torch.Tensor,
    xk: torch.Tensor,
    xv: torch.Tensor,
    xa: torch.Tensor,
    xg: torch.Tensor | None = None,
) -> tuple[torch.Tensor | None, ...]:
    """hidden_states + delta * x for each of the six mixtures x, the last None where xg is.

    hidden_states [B, T, D], delta (predecessor minus token) as large, x [1, 1, D].
    """
    return tuple(None if x is None else torch.addcmul(hidden_states, delta, x) for x in (xr, xw, xk, xv, xa, xg))


# PyTorch's own kernel is one read and one write of each mixture already.
torch_addcmul_rwkv7 = fused_addcmul_rwkv7
