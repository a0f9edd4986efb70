"""Mamba-2's gated norms: norm(x) * silu(z) with ``norm_before_gate``, else norm(x * silu(z)).

With ``group_size`` each run of that many channels is normalised by itself. ``x`` and ``z``
are [..., D] and computed in float32 (float64 for float64); the result has the dtype of x.
Source: Dao & Gu 2024, Transformers are SSMs, section 7.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from ._applies import applies
from ._norm import Kind, normalise

__all__ = ["LayerNormFn", "LayerNormGated", "RMSNormGated", "layernorm_fn", "rms_norm_ref", "rmsnorm_fn"]


def rms_norm_ref(x, weight, bias, z=None, eps=1e-6, group_size=None, norm_before_gate=True, upcast=True):
    """The RMS form written the short way, by PyTorch's autograd; in float32 with ``upcast``."""
    dtype = x.dtype
    weight, bias = weight.float(), None if bias is None else bias.float()
    if upcast:
        x, z = x.float(), None if z is None else z.float()
    if z is not None and not norm_before_gate:
        x = x * F.silu(z)
    groups = x.unflatten(-1, (-1, group_size or x.shape[-1]))
    y = (groups / torch.sqrt(groups.square().mean(-1, keepdim=True) + eps)).flatten(-2) * weight
    y = y if bias is None else y + bias
    return (y if z is None or not norm_before_gate else y * F.silu(z)).to(dtype)


def layernorm_fn(x, weight, bias, z=None, eps=1e-6, group_size=None, norm_before_gate=True, is_rms_norm=False):
    """The layer norm form, or RMS with ``is_rms_norm``; ``weight`` is [D], ``bias`` [D] or None, ``z`` like x or None.

    Raises ValueError when the width is no multiple of ``group_size`` or z has another shape than x.
    """
    width = x.shape[-1]
    size = width if group_size is None else group_size
    if width % size:
        raise ValueError(f"expected the last dimension to be a multiple of group_size={size}, got {width}")
    if z is not None and z.shape != x.shape:
        raise ValueError(f"expected z of shape {tuple(x.shape)}, got {tuple(z.shape)}")
    kind = Kind(eps, not is_rms_norm, width // size, None if z is None else "swish", not norm_before_gate)
    return normalise(x, weight, bias, kind, gate=z)


def rmsnorm_fn(x, weight, bias, z=None, eps=1e-6, group_size=None, norm_before_gate=True):
    """The RMS form; see :func:`layernorm_fn`."""
    return layernorm_fn(x, weight, bias, z, eps, group_size, norm_before_gate, True)


LayerNormFn = applies("LayerNormFn", layernorm_fn, __name__)


class LayerNormGated(nn.Module):
    """Parameters ``weight`` and ``bias`` [hidden_size]; forward(x, z=None) by :func:`layernorm_fn`."""

    def __init__(self, hidden_size, eps: float = 1e-5, group_size: int | None = None, norm_before_gate: bool = True,
                 device: torch.device | None = None, dtype: torch.dtype | None = None):
        super().__init__()
        self.eps = eps
        self.group_size = group_size
        self.norm_before_gate = norm_before_gate
        self.weight = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to one and the bias to zero."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x, z=None):
        """x and z [..., hidden_size]."""
        return layernorm_fn(x, self.weight, self.bias, z, self.eps, self.group_size, self.norm_before_gate)


class RMSNormGated(nn.Module):
    """Parameter ``weight`` [hidden_size]; forward(x, z=None) by :func:`rmsnorm_fn`."""

    def __init__(self, hidden_size, eps: float = 1e-5, group_size: int | None = None, norm_before_gate: bool = False,
                 device: torch.device | None = None, dtype: torch.dtype | None = None):
        super().__init__()
        self.eps = eps
        self.group_size = group_size
        self.norm_before_gate = norm_before_gate
        self.weight = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to one."""
        nn.init.ones_(self.weight)

    def forward(self, x, z=None):
        """x and z [..., hidden_size]."""
        return rmsnorm_fn(x, self.weight, self.bias, z, self.eps, self.group_size, self.norm_before_gate)
