"""Rates made of logits."""

from __future__ import annotations

import torch

__all__ = ["fused_beta_sigmoid"]


def fused_beta_sigmoid(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """scale sigmoid(x)."""
    return torch.sigmoid(x) if scale == 1.0 else scale * torch.sigmoid(x)
