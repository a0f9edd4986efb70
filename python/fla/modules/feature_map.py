"""Feature maps of linear attention: x [..., head_dim] to non-negative or quadratic features, last dimension."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from .activations import fast_gelu_impl, sigmoid, sqrelu, swish
from .layernorm import layer_norm

__all__ = ["DPFPFeatureMap", "GELUFeatureMap", "HadamardFeatureMap", "HedgehogFeatureMap",
           "LearnableOuterProductFeatureMap", "LearnablePolySketchNonNegativeFeatureMap", "ReLUFeatureMap",
           "RebasedFeatureMap", "SigmoidFeatureMap", "SquaredReLUFeatureMap", "SwishFeatureMap", "T2RFeatureMap",
           "TaylorFeatureMap", "flatten_diag_outer_product", "flatten_diag_outer_product_off1", "is_power_of_2"]


def _recomputed(function):
    """The function, whose n^2 intermediate results are computed again in the backward pass instead of kept."""

    @functools.wraps(function)
    def call(*args):
        return checkpoint(function, *args, use_reentrant=False) if torch.is_grad_enabled() else function(*args)

    return call


@_recomputed
def flatten_diag_outer_product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x_i y_j for i <= j, of x and y [..., n]: [..., n (n + 1) / 2]."""
    i, j = torch.triu_indices(x.shape[-1], x.shape[-1], device=x.device)
    return x[..., i] * y[..., j]


@_recomputed
def flatten_diag_outer_product_off1(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x_i y_j for i < j, [..., n (n - 1) / 2], and x_i y_i, [..., n]."""
    i, j = torch.triu_indices(x.shape[-1], x.shape[-1], 1, device=x.device)
    return x[..., i] * y[..., j], x * y


def is_power_of_2(n: int) -> bool:
    """Whether n is 1, 2, 4, 8, ..."""
    return n > 0 and n & (n - 1) == 0


class HedgehogFeatureMap(nn.Module):
    """softmax([2 W x, -2 W x]): [..., 2 head_dim] (Zhang et al. 2024, arXiv:2402.04347)."""

    def __init__(self, head_dim: int):
        super().__init__()
        self.layer = nn.Linear(head_dim, head_dim)
        self.init_weights_()

    def init_weights_(self) -> None:
        """Makes the map the identity."""
        nn.init.eye_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., head_dim]."""
        y = 2 * self.layer(x)
        return torch.cat([y, -y], -1).softmax(-1)


class T2RFeatureMap(nn.Module):
    """relu(W x): [..., dot_dim], head_dim by default (Kasai et al. 2021, arXiv:2103.13076)."""

    def __init__(self, head_dim: int, dot_dim: int | None = None, bias: bool | None = False):
        super().__init__()
        self.head_dim = head_dim
        self.dot_dim = head_dim if dot_dim is None else dot_dim
        self.bias = bias
        self.layer = nn.Linear(self.head_dim, self.dot_dim, bias=bias)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(head_dim={self.head_dim}, dot_dim={self.dot_dim}, bias={self.bias})"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., head_dim]."""
        return self.layer(x).relu()


class DPFPFeatureMap(nn.Module):
    """Products of r = [relu(x), -relu(x)] with itself rolled by 1 to nu: [..., 2 nu head_dim].

    Source: Schlag et al. 2021 (arXiv:2102.11174), in the form that published checkpoints use.
    """

    def __init__(self, head_dim: int, nu: int = 4):
        super().__init__()
        self.nu = nu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., head_dim]."""
        r = torch.cat([x.relu(), -x.relu()], -1)
        return torch.cat([r * r.roll(shift, -1) for shift in range(1, self.nu + 1)], -1)


class HadamardFeatureMap(nn.Module):
    """(W1 x) * (W2 x): [..., head_dim]."""

    def __init__(self, head_dim: int):
        super().__init__()
        self.layer1 = nn.Linear(head_dim, head_dim)
        self.layer2 = nn.Linear(head_dim, head_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., head_dim]."""
        return self.layer1(x) * self.layer2(x)


class LearnableOuterProductFeatureMap(nn.Module):
    """The upper triangle of (W1 x)(W2 x)^T: [..., feature_dim (feature_dim + 1) / 2]."""

    def __init__(self, head_dim: int, feature_dim: int):
        super().__init__()
        self.layer1 = nn.Linear(head_dim, feature_dim, bias=False)
        self.layer2 = nn.Linear(head_dim, feature_dim, bias=False)
        self.normalizer = feature_dim ** -0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., head_dim]."""
        return flatten_diag_outer_product(self.layer1(x), self.layer2(x))


class LearnablePolySketchNonNegativeFeatureMap(nn.Module):
    """The square of a learned sketch of x^(degree/2): [..., sketch_size (sketch_size + 1) / 2].

    Source: Kacham et al. 2023, PolySketchFormer, with linear layers for sketches. Raises
    ValueError unless ``degree`` is a power of 2 and at least 2.
    """

    def __init__(self, head_dim: int, sketch_size: int | None = None, degree: int | None = 2):
        super().__init__()
        if not is_power_of_2(degree) or degree < 2:
            raise ValueError(f"expected a degree that is a power of 2 and at least 2, got {degree}")
        self.head_dim = head_dim
        self.sketch_size = head_dim if sketch_size is None else sketch_size
        self.degree = degree
        self.gamma = nn.Parameter(torch.ones(head_dim))
        self.beta = nn.Parameter(torch.zeros(head_dim))
        self.sketches1 = self._sketches()
        self.sketches2 = self._sketches()

    def _sketches(self) -> nn.ModuleList:
        widths = [self.head_dim] + [self.sketch_size] * max(1, int(math.log2(self.degree)) - 1)
        return nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in zip(widths, widths[1:]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., head_dim]."""
        x = layer_norm(x, self.gamma, self.beta)
        for one, two in zip(self.sketches1, self.sketches2):
            x = one(x) * two(x) * self.head_dim ** -0.5
        return flatten_diag_outer_product(x, x)


class TaylorFeatureMap(nn.Module):
    """Features whose inner product is 1 + q.k/sqrt(d) + (q.k)^2/(2 d): [..., 1 + d + d (d + 1) / 2].

    Source: Arora et al. 2024, Based (arXiv:2402.18668).
    """

    def __init__(self, head_dim: int):
        super().__init__()
        self.head_dim = head_dim
        self.r2 = math.sqrt(2)
        self.rd = math.sqrt(head_dim)
        self.rrd = math.sqrt(self.rd)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., head_dim]."""
        mixed, squares = flatten_diag_outer_product_off1(x, x)
        parts = torch.ones_like(x[..., :1]), x / self.rrd, squares / (self.rd * self.r2), mixed / self.rd
        return torch.cat(parts, -1)


class RebasedFeatureMap(nn.Module):
    """Features whose inner product is (q.k)^2/d of normalised, scaled and shifted x: [..., d (d + 1) / 2].

    Source: Aksenov et al. 2024, ReBased (arXiv:2402.10644). ``flatten=False`` leaves the products out.
    Raises RuntimeError when neither a norm nor gamma is switched on.
    """

    def __init__(self, head_dim: int, use_gamma: bool | None = True, use_beta: bool | None = True,
                 normalize: bool | None = True):
        super().__init__()
        self.head_dim = head_dim
        self.use_gamma = use_gamma
        self.use_beta = use_beta
        self.normalize = normalize
        self.gamma = nn.Parameter(torch.ones(head_dim)) if use_gamma else None
        self.beta = nn.Parameter(torch.zeros(head_dim)) if use_beta else None

    def _scaled(self, x: torch.Tensor) -> torch.Tensor:
        if self.normalize:
            return layer_norm(x, self.gamma, self.beta)
        if self.gamma is None:
            raise RuntimeError("expected normalize or use_gamma to be switched on, got neither")
        return x * self.gamma if self.beta is None else torch.addcmul(self.beta, x, self.gamma)

    def forward(self, x: torch.Tensor, flatten: bool | None = True) -> torch.Tensor:
        """x [..., head_dim]."""
        x = self._scaled(x)
        if not flatten:
            return x
        mixed, squares = flatten_diag_outer_product_off1(x, x)
        return torch.cat([squares * self.head_dim ** -0.5, mixed * (2 / self.head_dim) ** 0.5], -1)


class _Elementwise(nn.Module):
    """An activation as a feature map."""

    _function = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x of any shape."""
        return type(self)._function(x)


class ReLUFeatureMap(_Elementwise):
    """max(x, 0)."""

    _function = staticmethod(F.relu)


class SquaredReLUFeatureMap(_Elementwise):
    """max(x, 0)^2."""

    _function = staticmethod(sqrelu)


class GELUFeatureMap(_Elementwise):
    """GELU by its tanh approximation."""

    _function = staticmethod(fast_gelu_impl)


class SwishFeatureMap(_Elementwise):
    """x sigmoid(x)."""

    _function = staticmethod(swish)


class SigmoidFeatureMap(_Elementwise):
    """1 / (1 + exp(-x))."""

    _function = staticmethod(sigmoid)
