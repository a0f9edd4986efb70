"""The gated MLP of Llama-like models: down(act(gate(x)) * up(x))."""

from __future__ import annotations

import torch
import torch.nn as nn

from ._lazy import lazy_attributes
from .activations import powglu, powglu_linear, swiglu, swiglu_linear

__all__ = ["GatedMLP", "SwiGLULinear", "SwiGLULinearParallel"]

__getattr__ = lazy_attributes(__name__, {"SwiGLULinearParallel": "_tensor_parallel"})


class SwiGLULinear(nn.Module):
    """:func:`fla.modules.activations.swiglu_linear` as a module, for a tensor-parallel plan to hold on to."""

    def forward(self, x, y, weight, bias):
        """x and y [..., D], weight [O, D], bias [O] or None; returns [..., O]."""
        return swiglu_linear(x, y, weight, bias)


class GatedMLP(nn.Module):
    """down_proj(act(gate_proj(x)) * up_proj(x)), three linear maps without bias.

    Args:
        hidden_size: width H of x.
        hidden_ratio: about how many H^2 parameters the three maps have by two thirds; 4 by default.
        intermediate_size: width between the maps; two thirds of hidden_ratio * H, rounded up
            to a multiple of 256, by default.
        hidden_act: swish, or powlu for the power linear unit; another one raises ValueError.
        fuse_swiglu: whether the product and the last map are one function, which keeps less
            for the backward pass.
        powglu_power: the exponent of powlu.
    """

    def __init__(self, hidden_size: int, hidden_ratio: int | None = None, intermediate_size: int | None = None,
                 hidden_act: str = "swish", fuse_swiglu: bool = True, powglu_power: float = 3.0):
        super().__init__()
        if hidden_act not in ("swish", "powlu"):
            raise ValueError(f"expected hidden_act among swish and powlu, got {hidden_act!r}")
        hidden_ratio = 4 if hidden_ratio is None else hidden_ratio
        if intermediate_size is None:
            intermediate_size = -(-int(hidden_size * hidden_ratio * 2 / 3) // 256) * 256
        self.hidden_size = hidden_size
        self.hidden_ratio = hidden_ratio
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.fuse_swiglu = fuse_swiglu
        self.powglu_power = powglu_power
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)
        if fuse_swiglu and hidden_act == "swish":
            self.swiglu_linear = SwiGLULinear()

    def forward(self, x: torch.Tensor, **kwargs) -> torch.Tensor:
        """x [..., hidden_size]; further keywords, which models pass through, are ignored."""
        gate, y = self.gate_proj(x), self.up_proj(x)
        down = self.down_proj
        if self.hidden_act == "powlu":
            if self.fuse_swiglu:
                return powglu_linear(gate, y, down.weight, down.bias, self.powglu_power)
            return down(powglu(gate, y, self.powglu_power))
        return self.swiglu_linear(gate, y, down.weight, down.bias) if self.fuse_swiglu else down(swiglu(gate, y))
