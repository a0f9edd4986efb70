"""Parts that many layers have in common: decay parameters, gated output norms."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from ._call import heads, merge

__all__ = ["DecayGate", "GatedOutput", "fresh", "step_bias"]


def step_bias(count: int, low: float = 1e-3, high: float = 0.1, floor: float = 1e-4) -> torch.Tensor:
    """Biases [count] whose softplus is log-uniform in [low, high]: the step sizes of Mamba.

    A. Gu, T. Dao, arXiv:2312.00752 (2023), section 3.6.
    """
    step = torch.exp(torch.rand(count) * (math.log(high) - math.log(low)) + math.log(low)).clamp(min=floor)
    return step + torch.log(-torch.expm1(-step))     # the inverse of softplus


def fresh(parameter: torch.Tensor, values) -> None:
    """Writes initial values, unless a checkpoint gave the parameter or it has no storage.

    values: a tensor, a number, or a function that makes the tensor.
    """
    if parameter is None or parameter.is_meta or getattr(parameter, "_is_hf_initialized", False):
        return
    with torch.no_grad():
        values = values() if callable(values) else values
        if isinstance(values, torch.Tensor):
            parameter.copy_(values.reshape(parameter.shape))
        else:
            parameter.fill_(values)


class DecayGate(nn.Module):
    """A layer with the decay of Mamba-2: g = -exp(A_log) * softplus(a + dt_bias), one per head.

    g is a natural logarithm. T. Dao, A. Gu, arXiv:2405.21060 (2024).
    """

    decay_range = (0.0, 16.0)

    def make_decay(self, count: int, steps: int | None = None) -> None:
        self.A_log = nn.Parameter(torch.empty(count, dtype=torch.float32))
        self.dt_bias = nn.Parameter(torch.empty(steps or count, dtype=torch.float32))
        self.A_log._no_weight_decay = self.dt_bias._no_weight_decay = True
        self.reset_decay()

    def reset_decay(self) -> None:
        fresh(self.A_log, lambda: torch.empty(self.A_log.shape).uniform_(*self.decay_range).log())
        fresh(self.dt_bias, lambda: step_bias(self.dt_bias.numel()))

    def reset_parameters(self) -> None:
        if hasattr(self, "A_log"):
            self.reset_decay()

    def log_decay(self, a: torch.Tensor) -> torch.Tensor:
        return -self.A_log.float().exp() * F.softplus(a.float() + self.dt_bias)


class GatedOutput(nn.Module):
    """A layer whose heads are normalised and gated: norm(o) * act(g_proj(x)).

    One fused module, `g_norm_swish_gate`, where the gate is swish; otherwise
    `g_norm`, then the activation.
    """

    def make_output_norm(self, gate_fn: str, fuse_norm: bool, elementwise_affine, norm_eps: float) -> None:
        from fla.modules import FusedRMSNormGated, RMSNorm
        from fla.modules.activations import ACT2FN
        self.fuse_norm_and_gate = gate_fn == "swish" and fuse_norm and self.use_output_gate
        if self.fuse_norm_and_gate:
            self.g_norm_swish_gate = FusedRMSNormGated(hidden_size=self.head_v_dim,
                                                       elementwise_affine=elementwise_affine, eps=norm_eps)
        else:
            self.g_norm = RMSNorm(hidden_size=self.head_v_dim, elementwise_affine=elementwise_affine, eps=norm_eps,
                                  dtype=torch.float32)
            self.gate_fn = ACT2FN[gate_fn]

    def gated(self, o: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """o [..., H, V] of tokens x, as [..., H * V]."""
        if not self.use_output_gate:
            return merge(self.g_norm(o))
        g = self.g_proj(x)
        if self.fuse_norm_and_gate:
            return merge(self.g_norm_swish_gate(o, heads(g, self.head_v_dim)))
        return merge(self.g_norm(o)) * self.gate_fn(g)
