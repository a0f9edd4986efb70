"""One normalisation under every norm module: y = act(g) * (w * (s - mean) / std + b), row by row.

The mean is left out for RMS norms; a row may be normalised in groups; the gate may come
before the norm instead of after it. Everything is float32 inside (float64 for float64).

The backward pass is written out because of memory: PyTorch's own would keep three to six
float32 tensors per norm, this one keeps the inputs in their dtype and computes the row
statistics again. It consists of differentiable operations of the inputs. Large inputs on a
CPU go through a definition for the compiler (RMS norms) or, in float32, PyTorch's layer norm;
on a GPU through PyTorch's kernels where it has one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from ._blocks import by_blocks, is_large
from ._gates import gate_named
from ._precision import autocast_dtype, cast, wide

__all__ = ["Kind", "add_residual", "normalise", "normalise_linear"]


class Kind(NamedTuple):
    """What is computed: everything about a norm that is not a tensor."""

    eps: float
    centred: bool
    groups: int = 1
    activation: str | None = None
    gate_first: bool = False


def _standardise(s: torch.Tensor, kind: Kind) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [R, D] to groups [R, G, D/G] of unit size, and one over their size before."""
    s = s.unflatten(-1, (kind.groups, -1))
    if kind.centred:
        s = s - s.mean(-1, keepdim=True)
    rstd = torch.rsqrt(s.square().mean(-1, keepdim=True) + kind.eps)
    return s * rstd, rstd


def _affine(rows: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor:
    if weight is not None:
        rows = rows * wide(weight)
    return rows if bias is None else rows + wide(bias)


def _forward(x, weight, bias, gate, kind: Kind) -> torch.Tensor:
    """[R, D] of any float dtype to [R, D] in float32 or float64."""
    s = wide(x)
    if gate is None:
        return _affine(_standardise(s, kind)[0].flatten(-2), weight, bias)
    amount = gate_named(kind.activation).value(wide(gate))
    if kind.gate_first:
        return _affine(_standardise(s * amount, kind)[0].flatten(-2), weight, bias)
    return _affine(_standardise(s, kind)[0].flatten(-2), weight, bias) * amount


def _backward(dy, x, weight, bias, gate, kind: Kind):
    """The gradients of x, weight, bias and gate, in float32 or float64."""
    d, s, dgate = wide(dy), wide(x), None
    if gate is not None:
        function, g = gate_named(kind.activation), wide(gate)
        amount = function.value(g)
    if gate is not None and kind.gate_first:
        s = s * amount
    unit, rstd = _standardise(s, kind)
    rows = unit.flatten(-2)
    if gate is not None and not kind.gate_first:
        dgate = d * _affine(rows, weight, bias) * function.slope(g)
        d = d * amount
    dweight = (d * rows).sum(0) if weight is not None else None
    dbias = d.sum(0) if bias is not None else None
    if weight is not None:
        d = d * wide(weight)
    d = d.unflatten(-1, (kind.groups, -1))
    along = (d * unit).mean(-1, keepdim=True)
    ds = d - unit * along
    if kind.centred:
        ds = ds - d.mean(-1, keepdim=True)
    ds = (ds * rstd).flatten(-2)
    if gate is not None and kind.gate_first:
        dgate = ds * wide(x) * function.slope(g)
        ds = ds * amount
    return ds, dweight, dbias, dgate


def _like(gradient: torch.Tensor | None, parameter: torch.Tensor | None) -> torch.Tensor | None:
    return None if gradient is None else gradient.to(parameter.dtype)


def _rows(x, weight, bias, gate, dtype: torch.dtype, kind: Kind) -> torch.Tensor:
    """The normalised rows in ``dtype``."""
    return by_blocks(lambda x, gate: (cast(_forward(x, weight, bias, gate, kind), dtype),), (x, gate), 1)[0]


def _gradients(dy, x, weight, bias, gate, kind: Kind) -> tuple:
    """The gradients of x, weight, bias and gate, in their dtypes."""

    def block(x, dy, gate):
        dx, dweight, dbias, dgate = _backward(dy, x, weight, bias, gate, kind)
        return _like(dx, x), _like(dgate, gate), dweight, dbias

    dx, dgate, dweight, dbias = by_blocks(block, (x, dy, gate), 2)
    return dx, _like(dweight, weight), _like(dbias, bias), dgate


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, gate, dtype, kind):
        ctx.save_for_backward(x, weight, bias, gate)
        ctx.kind = kind
        return _rows(x, weight, bias, gate, dtype, kind)

    @staticmethod
    def backward(ctx, dy):
        x, weight, bias, gate = ctx.saved_tensors
        return *_gradients(dy, x, weight, bias, gate, ctx.kind), None, None


class _NormaliseLinear(torch.autograd.Function):
    """A norm and a linear map after it, which computes the normalised rows again instead of keeping them."""

    @staticmethod
    def forward(ctx, x, weight, bias, gate, linear_weight, linear_bias, kind):
        ctx.save_for_backward(x, weight, bias, gate, linear_weight, linear_bias)
        ctx.kind = kind
        return F.linear(_rows(x, weight, bias, gate, linear_weight.dtype, kind), linear_weight, linear_bias)

    @staticmethod
    def backward(ctx, dout):
        x, weight, bias, gate, linear_weight, linear_bias = ctx.saved_tensors
        y = _rows(x, weight, bias, gate, linear_weight.dtype, ctx.kind)
        dlinear_weight = dout.t() @ y
        dlinear_bias = None if linear_bias is None else dout.sum(0)
        return *_gradients(dout @ linear_weight, x, weight, bias, gate, ctx.kind), dlinear_weight, dlinear_bias, None


def _is_one_kernel(x, weight, bias, gate, dtype: torch.dtype, kind: Kind) -> bool:
    """Whether PyTorch has a kernel for this on a GPU, float32 inside: both are of one type then, without a gate."""
    if dtype != x.dtype or kind.groups > 1 or gate is not None or not is_large(x, "cuda"):
        return False
    return all(t is None or t.dtype == x.dtype for t in (weight, bias)) and (kind.centred or bias is None)


def _fastest(x, weight, bias, gate, dtype: torch.dtype, kind: Kind) -> torch.Tensor:
    """The normalised rows [R, D] in ``dtype``, by what is fastest for large ones."""
    if gate is not None:
        gate_named(kind.activation)
    if dtype == x.dtype and kind.groups == 1 and not kind.gate_first and is_large(x, "cpu"):
        if not kind.centred:
            from ._rows import norm_rows
            return norm_rows(x, weight, bias, gate, kind.eps, kind.activation)
        # In bfloat16 PyTorch adds up the gradients of parameters in bfloat16.
        if gate is None and all(t is None or t.dtype == torch.float32 for t in (x, weight, bias)):
            return F.layer_norm(x, x.shape[-1:], weight, bias, kind.eps)
    if _is_one_kernel(x, weight, bias, gate, dtype, kind):
        if kind.centred:
            return cast(F.layer_norm(x, x.shape[-1:], weight, bias, kind.eps), dtype)
        return cast(F.rms_norm(x, x.shape[-1:], weight, kind.eps), dtype)
    return _Normalise.apply(x, weight, bias, gate, dtype, kind)


def _check(x, weight, bias, gate, kind: Kind) -> None:
    width = x.shape[-1]
    if width % kind.groups:
        raise ValueError(f"expected the last dimension to be divisible by num_groups={kind.groups}, got {width}")
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.shape != (width,):
            raise ValueError(f"expected a norm {name} of shape ({width},), got {tuple(parameter.shape)}")
    if gate is not None and gate.numel() != x.numel():
        raise ValueError(f"expected a gate of shape {tuple(x.shape)}, got {tuple(gate.shape)}")


def add_residual(x, residual, residual_in_fp32: bool = False):
    """(what is normalised, what the residual stream goes on with) of x and the residual, or None, before it.

    The sum is float32; the stream has the residual's dtype, without one x's or float32.
    Raises ValueError when the shapes differ.
    """
    if residual is None:
        return x, (x.float() if residual_in_fp32 and x.dtype != torch.float64 else x)
    if residual.shape != x.shape:
        raise ValueError(f"expected a residual of shape {tuple(x.shape)}, got {tuple(residual.shape)}")
    total = wide(x) + wide(residual)
    return total, total.to(residual.dtype)


def normalise(x, weight, bias, kind: Kind, *, gate=None, residual=None, prenorm=False, residual_in_fp32=False):
    """Normalises ``x [..., D]`` plus the residual.

    Returns y in the dtype and shape of x; with ``prenorm`` also x + residual, the residual
    stream. Raises ValueError for shapes that do not fit.
    """
    _check(x, weight, bias, gate, kind)
    total, stream = add_residual(x, residual, residual_in_fp32)
    rows = x.shape[-1]
    gate = None if gate is None else gate.reshape(-1, rows)
    y = _fastest(total.reshape(-1, rows), weight, bias, gate, x.dtype, kind).reshape(x.shape)
    return (y, stream) if prenorm else y


def normalise_linear(x, weight, bias, linear_weight, linear_bias, kind: Kind, *, gate=None, residual=None,
                     prenorm=False, residual_in_fp32=False):
    """:func:`normalise` followed by a linear map ``[O, D]``, whose input is not kept for the backward pass.

    Returns [..., O] in autocast's dtype where that is on, else in the dtype of x.
    """
    _check(x, weight, bias, gate, kind)
    total, stream = add_residual(x, residual, residual_in_fp32)
    width, dtype = x.shape[-1], autocast_dtype(x)
    gate = None if gate is None else gate.reshape(-1, width)
    linear_bias = None if linear_bias is None else linear_bias.to(dtype)
    out = _NormaliseLinear.apply(total.reshape(-1, width), weight, bias, gate,
                                 linear_weight.to(dtype), linear_bias, kind)
    out = out.reshape(*x.shape[:-1], linear_weight.shape[0])
    return (out, stream) if prenorm else out
