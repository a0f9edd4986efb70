"""What the layers of the delta rule share: convolved q, k, v and a normalised, perhaps gated, output."""

from __future__ import annotations

import warnings

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules import FusedRMSNormGated, RMSNorm, ShortConvolution

from ._call import Call, heads, merge
from ._gates import DecayGate

__all__ = ["DeltaLayer"]


class DeltaLayer(DecayGate):
    """q, k, v by projection and short convolution; `o_norm`, with a gate `g_proj` where there is one; `o_proj`."""

    def make_convolutions(self, use_short_conv: bool, conv_size: int, conv_bias: bool, **widths: int) -> None:
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias
        if not use_short_conv:
            warnings.warn(f"{type(self).__name__}: use_short_conv=False; short convolutions matter much for quality.")
            return
        for name, width in widths.items():
            setattr(self, f"{name}_conv1d", ShortConvolution(width, conv_size, bias=conv_bias, activation="silu"))

    def make_output(self, gated: bool, norm_eps: float, activation: str = "swish") -> None:
        self._gated = gated
        if gated:
            self.g_proj = nn.Linear(self.hidden_size, self.value_dim, bias=False)
            self.o_norm = FusedRMSNormGated(self.head_v_dim, activation=activation, eps=norm_eps)
        else:
            self.o_norm = RMSNorm(self.head_v_dim, eps=norm_eps, dtype=torch.float32)
        self.o_proj = nn.Linear(self.value_dim, self.hidden_size, bias=False)

    def project(self, call: Call) -> list[torch.Tensor]:
        parts = call.project("q", "k", "v")
        return parts if self.use_short_conv else [F.silu(x) for x in parts]

    def short(self, call: Call) -> bool:
        """Whether the call is computed token by token."""
        return self.mode == "fused_recurrent" or (call.tokens <= 64 and not self.training)

    def output(self, o: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """o [..., H, V] of tokens x, normalised, as [..., H * V]."""
        o = self.o_norm(o, heads(self.g_proj(x), self.head_v_dim)) if self._gated else self.o_norm(o)
        return merge(o)
