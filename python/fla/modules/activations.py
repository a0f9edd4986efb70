"""Activations and gated units: element by element, any shape, float32 inside (float64 for float64).

Results have the dtype of x. ``ACT2FN`` finds an activation by the name that configurations use.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ._applies import applies
from ._gates import GATES, power_gate
from ._glu import gated, gated_backward, gated_linear
from ._precision import wide

__all__ = ["ACT2FN", "bias_gelu_impl", "fast_gelu_impl", "logsigmoid", "powglu", "powglu_linear", "sigmoid",
           "sigmoidglu", "sigmoidglu_linear", "sqrelu", "swiglu", "swiglu_linear", "swish"]


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


def logsigmoid(x: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """log(sigmoid(x)) / temperature."""
    return (F.logsigmoid(wide(x)) / temperature).to(x.dtype)


def swish(x: torch.Tensor) -> torch.Tensor:
    """x sigmoid(x), also called SiLU."""
    return F.silu(x)


def sqrelu(x: torch.Tensor) -> torch.Tensor:
    """max(x, 0)^2 (So et al. 2021, Primer)."""
    return F.relu(wide(x)).square().to(x.dtype)


def fast_gelu_impl(x: torch.Tensor) -> torch.Tensor:
    """GELU by its tanh approximation."""
    return F.gelu(x, approximate="tanh")


def bias_gelu_impl(y: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """GELU, by its tanh approximation, of ``y [..., D] + bias [D]``."""
    return F.gelu(wide(y) + wide(bias), approximate="tanh").to(y.dtype)


def swiglu(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """swish(x) * y for x and y of one shape (Shazeer 2020); ValueError for two."""
    return gated(x, y, GATES["swish"])


def swiglu_linear(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """(swish(x) * y) weight^T + bias: x and y [..., D], weight [O, D], bias [O] or None; keeps x and y alone."""
    return gated_linear(x, y, weight, bias, GATES["swish"])


def sigmoidglu(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """sigmoid(x) * y for x and y of one shape (Dauphin et al. 2017)."""
    return gated(x, y, GATES["sigmoid"])


def sigmoidglu_linear(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor,
                      bias: torch.Tensor | None) -> torch.Tensor:
    """(sigmoid(x) * y) weight^T + bias; see :func:`swiglu_linear`."""
    return gated_linear(x, y, weight, bias, GATES["sigmoid"])


def powglu(x: torch.Tensor, y: torch.Tensor, power: float = 3.0) -> torch.Tensor:
    """g(x) * y: g is x^(power/(sqrt(x)+1)) sigmoid(x) right of zero and swish left of it (arXiv:2605.25704)."""
    return gated(x, y, power_gate(power))


def powglu_linear(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
                  power: float = 3.0) -> torch.Tensor:
    """:func:`powglu`, then a linear map; see :func:`swiglu_linear`."""
    return gated_linear(x, y, weight, bias, power_gate(power))


def swiglu_fwd(x: torch.Tensor, y: torch.Tensor, output_contiguous: bool = False) -> torch.Tensor:
    """:func:`swiglu`."""
    return swiglu(x, y)


def swiglu_fwdbwd(x: torch.Tensor, y: torch.Tensor, g: torch.Tensor, use_weight: bool = False,
                  output_contiguous: bool = False):
    """The gradients of x and y for that of swiglu, g; with ``use_weight`` the value as well."""
    gradients = gated_backward(g, x, y, GATES["swish"])
    return (*gradients, swiglu(x, y)) if use_weight else gradients


SigmoidFunction = applies("SigmoidFunction", sigmoid, __name__)
LogSigmoidFunction = applies("LogSigmoidFunction", logsigmoid, __name__)
SwishFunction = applies("SwishFunction", swish, __name__)
SquaredReLUFunction = applies("SquaredReLUFunction", sqrelu, __name__)
FastGeLUFunction = applies("FastGeLUFunction", fast_gelu_impl, __name__)
GeLUFunction = applies("GeLUFunction", bias_gelu_impl, __name__)
SwiGLUFunction = applies("SwiGLUFunction", swiglu, __name__)
SwiGLULinearFunction = applies("SwiGLULinearFunction", swiglu_linear, __name__)

ACT2FN = {
    "relu": F.relu,
    "sigmoid": sigmoid,
    "logsigmoid": logsigmoid,
    "silu": swish,
    "swish": swish,
    "sqrelu": sqrelu,
    "gelu": fast_gelu_impl,
    "bias_gelu": bias_gelu_impl,
}
