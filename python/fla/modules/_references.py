"""Norms written the short way, in the dtype of their inputs or, with ``upcast``, in float32.

They are what the modules are tested against; PyTorch's autograd differentiates them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["group_norm_ref", "layer_norm_ref", "rms_norm_ref"]


def _prepared(x, weight, bias, residual, upcast):
    if upcast:
        x, weight, bias, residual = (None if t is None else t.float() for t in (x, weight, bias, residual))
    return (x if residual is None else (x + residual).to(x.dtype)), weight, bias


def layer_norm_ref(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor = None,
                   eps: float = 1e-5, prenorm: bool = False, upcast: bool = False):
    """Layer norm of ``x + residual`` over the last dimension; with ``prenorm`` (y, x + residual)."""
    dtype = x.dtype
    x, weight, bias = _prepared(x, weight, bias, residual, upcast)
    inside = x if weight is None else x.to(weight.dtype)
    y = F.layer_norm(inside, x.shape[-1:], weight=weight, bias=bias, eps=eps).to(dtype)
    return (y, x) if prenorm else y


def rms_norm_ref(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor = None,
                 eps: float = 1e-5, prenorm: bool = False, upcast: bool = False):
    """RMS norm of ``x + residual`` over the last dimension; with ``prenorm`` (y, x + residual)."""
    return group_norm_ref(x, weight, bias, 1, residual, eps, True, prenorm, upcast)


def group_norm_ref(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, num_groups: int,
                   residual: torch.Tensor = None, eps: float = 1e-5, is_rms_norm: bool = False,
                   prenorm: bool = False, upcast: bool = False):
    """Layer or RMS norm of each of ``num_groups`` equal parts of the last dimension."""
    dtype = x.dtype
    x, weight, bias = _prepared(x, weight, bias, residual, upcast)
    parts = x.unflatten(-1, (num_groups, -1))
    if not is_rms_norm:
        parts = parts - parts.mean(-1, keepdim=True)
    size = torch.sqrt(parts.square().mean(-1, keepdim=True) + eps)
    y = (parts / size).flatten(-2)
    y = y if weight is None else y * weight
    y = (y if bias is None else y + bias).to(dtype)
    return (y, x) if prenorm else y
