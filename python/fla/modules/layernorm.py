"""Layer, RMS and group norms, alone and in front of a linear map.

Every norm takes ``x [..., D]`` in float16, bfloat16, float32 or float64, computes in
float32 (float64 for float64), adds ``residual [..., D]`` first if there is one, and gives y
in the dtype of x. With ``prenorm=True`` the result is (y, x + residual), the sum in the
residual's dtype; without a residual in the dtype of x, or in float32 with
``residual_in_fp32=True``. Shapes that do not fit raise ValueError.

Sources: Ba et al. 2016 (layer norm), Wu & He 2018 (group norm), Zhang & Sennrich 2019 (RMS norm).
"""

from __future__ import annotations

import torch

from ._applies import applies
from ._lazy import lazy_attributes
from ._norm import Kind, normalise, normalise_linear
from ._norm_module import NormModule
from ._references import group_norm_ref, layer_norm_ref, rms_norm_ref

__all__ = ["GroupNorm", "GroupNormLinear", "GroupNormRef", "LayerNorm", "LayerNormFunction", "LayerNormLinear",
           "LayerNormLinearFunction", "NormParallel", "RMSNorm", "RMSNormLinear", "group_norm", "group_norm_linear",
           "group_norm_ref", "layer_norm", "layer_norm_linear", "layer_norm_ref", "rms_norm", "rms_norm_linear",
           "rms_norm_ref"]

__getattr__ = lazy_attributes(__name__, {"NormParallel": "_tensor_parallel"})


def group_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor = None,
               eps: float = 1e-5, prenorm: bool = False, residual_in_fp32: bool = False, is_rms_norm: bool = False,
               num_groups: int = 1):
    """Norms each of ``num_groups`` equal parts of the last dimension; ``weight`` and ``bias`` are [D] or None."""
    return normalise(x, weight, bias, Kind(eps, not is_rms_norm, num_groups), residual=residual, prenorm=prenorm,
                     residual_in_fp32=residual_in_fp32)


def layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor = None,
               eps: float = 1e-5, prenorm: bool = False, residual_in_fp32: bool = False, is_rms_norm: bool = False):
    """Layer norm over the last dimension, or RMS norm with ``is_rms_norm``."""
    return group_norm(x, weight, bias, residual, eps, prenorm, residual_in_fp32, is_rms_norm)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor = None,
             eps: float = 1e-5, prenorm: bool = False, residual_in_fp32: bool = False):
    """RMS norm over the last dimension."""
    return group_norm(x, weight, bias, residual, eps, prenorm, residual_in_fp32, True)


def group_norm_linear(x: torch.Tensor, norm_weight: torch.Tensor, norm_bias: torch.Tensor,
                      linear_weight: torch.Tensor, linear_bias: torch.Tensor, residual: torch.Tensor = None,
                      eps: float = 1e-5, prenorm: bool = False, residual_in_fp32: bool = False,
                      is_rms_norm: bool = False, num_groups: int = 1):
    """A group norm, then a linear map of weight [O, D] and bias [O] or None; keeps x, not the normalised rows."""
    return normalise_linear(x, norm_weight, norm_bias, linear_weight, linear_bias,
                            Kind(eps, not is_rms_norm, num_groups), residual=residual, prenorm=prenorm,
                            residual_in_fp32=residual_in_fp32)


layer_norm_linear = group_norm_linear


def rms_norm_linear(x: torch.Tensor, norm_weight: torch.Tensor, norm_bias: torch.Tensor,
                    linear_weight: torch.Tensor, linear_bias: torch.Tensor, residual: torch.Tensor = None,
                    eps: float = 1e-5, prenorm: bool = False, residual_in_fp32: bool = False):
    """An RMS norm, then a linear map of weight [O, D] and bias [O] or None."""
    return group_norm_linear(x, norm_weight, norm_bias, linear_weight, linear_bias, residual, eps, prenorm,
                             residual_in_fp32, True)


LayerNormFunction = applies("LayerNormFunction", group_norm, __name__)
LayerNormLinearFunction = applies("LayerNormLinearFunction", group_norm_linear, __name__)


class _Groups(NormModule):
    """A norm of ``num_groups`` equal parts of the last dimension. Raises ValueError when they are not equal."""

    def __init__(self, num_groups: int, hidden_size: int, elementwise_affine: bool = True, bias: bool = False,
                 eps: float = 1e-5, is_rms_norm: bool = False, device: torch.device | None = None,
                 dtype: torch.dtype | None = None):
        if hidden_size % num_groups:
            raise ValueError(f"expected hidden_size to be divisible by num_groups={num_groups}, got {hidden_size}")
        super().__init__(hidden_size, elementwise_affine, bias, eps, device, dtype)
        self.num_groups = num_groups
        self.is_rms_norm = is_rms_norm

    def _sizes(self) -> list[str]:
        return [str(self.num_groups), str(self.hidden_size)]

    def _facts(self) -> list[str]:
        return (["is_rms_norm=True"] if self.is_rms_norm else []) + super()._facts()


class _Whole(NormModule):
    """A norm over the whole last dimension."""

    num_groups = 1

    def __init__(self, hidden_size: int, elementwise_affine: bool = True, bias: bool = False, eps: float = 1e-5,
                 device: torch.device | None = None, dtype: torch.dtype | None = None):
        super().__init__(hidden_size, elementwise_affine, bias, eps, device, dtype)


class _Alone:
    """forward(x) of a norm that stands alone."""

    def forward(self, x, residual=None, prenorm=False, residual_in_fp32=False):
        """x and residual [..., hidden_size]; see the module's docstring for what is returned."""
        return group_norm(x, self.weight, self.bias, residual, self.eps, prenorm, residual_in_fp32,
                          self.is_rms_norm, self.num_groups)


class _BeforeLinear:
    """forward(x, weight, bias) of a norm in front of a linear map whose parameters the caller owns."""

    def forward(self, x, weight, bias, residual=None, prenorm=False, residual_in_fp32=False):
        """x and residual [..., hidden_size], weight [O, hidden_size], bias [O] or None; returns [..., O]."""
        return group_norm_linear(x, self.weight, self.bias, weight, bias, residual, self.eps, prenorm,
                                 residual_in_fp32, self.is_rms_norm, self.num_groups)


class LayerNorm(_Alone, _Whole):
    """Layer norm over the last dimension."""

    is_rms_norm = False


class RMSNorm(_Alone, _Whole):
    """RMS norm over the last dimension."""

    is_rms_norm = True


class GroupNorm(_Alone, _Groups):
    """Layer norm, or RMS norm with ``is_rms_norm``, of each of ``num_groups`` parts of the last dimension."""


class LayerNormLinear(_BeforeLinear, _Whole):
    """Layer norm, then a linear map; the normalised rows are computed again in the backward pass."""

    is_rms_norm = False


class RMSNormLinear(_BeforeLinear, _Whole):
    """RMS norm, then a linear map; the normalised rows are computed again in the backward pass."""

    is_rms_norm = True


class GroupNormLinear(_BeforeLinear, _Groups):
    """Group norm, then a linear map; the normalised rows are computed again in the backward pass."""


class GroupNormRef(_Groups):
    """:class:`GroupNorm` by its reference: float32 and PyTorch's autograd."""

    def __init__(self, num_groups: int, hidden_size: int, elementwise_affine: bool = True, bias: bool = False,
                 eps: float = 1e-5, is_rms_norm: bool = False):
        super().__init__(num_groups, hidden_size, elementwise_affine, bias, eps, is_rms_norm)

    def forward(self, x, residual=None, prenorm=False):
        """x and residual [..., hidden_size]."""
        return group_norm_ref(x, self.weight, self.bias, self.num_groups, residual, self.eps, self.is_rms_norm, prenorm,
                              upcast=True)
