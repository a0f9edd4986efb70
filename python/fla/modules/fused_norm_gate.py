"""Norms multiplied by a gate: y = act(g) * (norm(x) * weight + bias), alone and in front of a linear map.

``x`` and ``g`` are [..., D] in float16, bfloat16, float32 or float64; everything is computed
in float32 (float64 for float64); y has the dtype of x. Residuals and ``prenorm`` are as in
:mod:`fla.modules.layernorm`. The activation is swish (silu, another name of it) or sigmoid;
another one raises ValueError.
"""

from __future__ import annotations

import torch

from ._applies import applies
from ._gates import gate_named
from ._norm import Kind, normalise, normalise_linear
from ._norm_module import NormModule

__all__ = ["FusedLayerNormGated", "FusedLayerNormGatedLinear", "FusedLayerNormSwishGate",
           "FusedLayerNormSwishGateLinear", "FusedRMSNormGated", "FusedRMSNormGatedLinear", "FusedRMSNormSwishGate",
           "FusedRMSNormSwishGateLinear", "LayerNormGatedFunction", "LayerNormGatedLinearFunction", "layer_norm_gated",
           "layer_norm_swish_gate_linear", "rms_norm_gated", "rms_norm_swish_gate_linear"]


def layer_norm_gated(x: torch.Tensor, g: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
                     activation: str = "swish", residual: torch.Tensor | None = None, prenorm: bool = False,
                     residual_in_fp32: bool = False, eps: float = 1e-6):
    """Layer norm times act(g); ``weight`` and ``bias`` are [D] or None."""
    return normalise(x, weight, bias, Kind(eps, True, activation=activation), gate=g, residual=residual,
                     prenorm=prenorm, residual_in_fp32=residual_in_fp32)


def rms_norm_gated(x: torch.Tensor, g: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
                   activation: str = "swish", residual: torch.Tensor | None = None, prenorm: bool = False,
                   residual_in_fp32: bool = False, eps: float = 1e-6):
    """RMS norm times act(g); ``weight`` and ``bias`` are [D] or None."""
    return normalise(x, weight, bias, Kind(eps, False, activation=activation), gate=g, residual=residual,
                     prenorm=prenorm, residual_in_fp32=residual_in_fp32)


def layer_norm_swish_gate_linear(x: torch.Tensor, g: torch.Tensor, norm_weight: torch.Tensor,
                                 norm_bias: torch.Tensor, linear_weight: torch.Tensor, linear_bias: torch.Tensor,
                                 residual: torch.Tensor | None = None, prenorm: bool = False,
                                 residual_in_fp32: bool = False, eps: float = 1e-6):
    """Layer norm times swish(g), then a linear map [O, D]; the gated rows are not kept."""
    return normalise_linear(x, norm_weight, norm_bias, linear_weight, linear_bias,
                            Kind(eps, True, activation="swish"), gate=g, residual=residual, prenorm=prenorm,
                            residual_in_fp32=residual_in_fp32)


def rms_norm_swish_gate_linear(x, g: torch.Tensor, norm_weight: torch.Tensor, norm_bias: torch.Tensor,
                               linear_weight: torch.Tensor, linear_bias: torch.Tensor,
                               residual: torch.Tensor | None = None, prenorm: bool = False,
                               residual_in_fp32: bool = False, eps: float = 1e-6):
    """RMS norm times swish(g), then a linear map [O, D]; the gated rows are not kept."""
    return normalise_linear(x, norm_weight, norm_bias, linear_weight, linear_bias,
                            Kind(eps, False, activation="swish"), gate=g, residual=residual, prenorm=prenorm,
                            residual_in_fp32=residual_in_fp32)


def _gated(x, g, weight, bias, activation, residual=None, eps=1e-6, prenorm=False, residual_in_fp32=False,
           is_rms_norm=False):
    function = rms_norm_gated if is_rms_norm else layer_norm_gated
    return function(x, g, weight, bias, activation, residual, prenorm, residual_in_fp32, eps)


def _gated_linear(x, g, norm_weight, norm_bias, linear_weight, linear_bias, residual=None, eps=1e-6, prenorm=False,
                  residual_in_fp32=False, is_rms_norm=False):
    function = rms_norm_swish_gate_linear if is_rms_norm else layer_norm_swish_gate_linear
    return function(x, g, norm_weight, norm_bias, linear_weight, linear_bias, residual, prenorm, residual_in_fp32, eps)


LayerNormGatedFunction = applies("LayerNormGatedFunction", _gated, __name__)
LayerNormGatedLinearFunction = applies("LayerNormGatedLinearFunction", _gated_linear, __name__)


class _Gated(NormModule):
    """A norm and the name of the gate's activation."""

    _function = None

    def _choose(self, activation: str) -> None:
        gate_named(activation)
        self.activation = activation

    def _facts(self) -> list[str]:
        return super()._facts() + [f"activation={self.activation}"]

    def forward(self, x: torch.Tensor, g: torch.Tensor, residual: torch.Tensor | None = None, prenorm: bool = False,
                residual_in_fp32: bool = False):
        """x, g and residual [..., hidden_size]."""
        return type(self)._function(x, g, self.weight, self.bias, self.activation, residual, prenorm,
                                    residual_in_fp32, self.eps)


class FusedLayerNormGated(_Gated):
    """Layer norm over the last dimension, times act(g)."""

    _function = staticmethod(layer_norm_gated)

    def __init__(self, hidden_size: int, elementwise_affine: bool = True, bias: bool = False,
                 activation: str = "swish", eps: float = 1e-5, device: torch.device | None = None,
                 dtype: torch.dtype | None = None):
        super().__init__(hidden_size, elementwise_affine, bias, eps, device, dtype)
        self._choose(activation)


class FusedRMSNormGated(_Gated):
    """RMS norm over the last dimension, times act(g)."""

    _function = staticmethod(rms_norm_gated)

    def __init__(self, hidden_size: int, elementwise_affine: bool = True, eps: float = 1e-5,
                 activation: str = "swish", device: torch.device | None = None, dtype: torch.dtype | None = None):
        super().__init__(hidden_size, elementwise_affine, False, eps, device, dtype)
        self._choose(activation)


class FusedLayerNormSwishGate(FusedLayerNormGated):
    """Layer norm times swish(g)."""

    def __init__(self, hidden_size: int, elementwise_affine: bool = True, bias: bool = False, eps: float = 1e-5,
                 device: torch.device | None = None, dtype: torch.dtype | None = None):
        super().__init__(hidden_size, elementwise_affine, bias, eps=eps, device=device, dtype=dtype)


class FusedRMSNormSwishGate(FusedRMSNormGated):
    """RMS norm times swish(g)."""

    def __init__(self, hidden_size: int, elementwise_affine: bool = True, eps: float = 1e-5,
                 device: torch.device | None = None, dtype: torch.dtype | None = None):
        super().__init__(hidden_size, elementwise_affine, eps, device=device, dtype=dtype)


class _GatedLinear(NormModule):
    """A norm times swish(g) in front of a linear map whose parameters the caller owns."""

    _function = None

    def __init__(self, hidden_size: int, elementwise_affine: bool = True, eps: float = 1e-5,
                 device: torch.device | None = None, dtype: torch.dtype | None = None):
        super().__init__(hidden_size, elementwise_affine, False, eps, device, dtype)

    def forward(self, x: torch.Tensor, g: torch.Tensor, weight: torch.Tensor | None = None,
                bias: torch.Tensor | None = None, residual: torch.Tensor | None = None, prenorm: bool = False,
                residual_in_fp32: bool = False):
        """x, g and residual [..., hidden_size], weight [O, hidden_size], bias [O] or None; returns [..., O]."""
        return type(self)._function(x, g, self.weight, self.bias, weight, bias, residual, prenorm,
                                    residual_in_fp32, self.eps)


class FusedLayerNormGatedLinear(_GatedLinear):
    """Layer norm times swish(g), then a linear map."""

    _function = staticmethod(layer_norm_swish_gate_linear)


class FusedRMSNormGatedLinear(_GatedLinear):
    """RMS norm times swish(g), then a linear map."""

    _function = staticmethod(rms_norm_swish_gate_linear)


class FusedLayerNormSwishGateLinear(FusedLayerNormGatedLinear):
    """Another name of :class:`FusedLayerNormGatedLinear`."""


class FusedRMSNormSwishGateLinear(FusedRMSNormGatedLinear):
    """Another name of :class:`FusedRMSNormGatedLinear`."""
