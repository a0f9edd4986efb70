"""The depthwise causal convolution itself: y_t = act(sum_w weight[:, w] x_{t-W+1+w} + bias), zeros before x_0.

One multiply-add per tap over [B, T, D] as it lies in memory. The backward pass is written
out because of memory: it keeps x in its own dtype, where PyTorch's would keep float32 copies.
On a CPU both go through time in blocks (see :mod:`fla.modules._blocks`), each of which sees
the W-1 rows before it and, on the way back, the W-1 rows after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from .._blocks import step_for
from .._gates import gate_named
from .._precision import wide

__all__ = ["convolve"]


class _Block(NamedTuple):
    """Batch rows and times from ``start`` to ``stop``, seen from ``begin`` to ``end``."""

    batch: slice
    begin: int
    start: int
    stop: int
    end: int


def _blocks(x: torch.Tensor, halo: int) -> Iterator[_Block]:
    """What covers ``x [B, T, D]``: one block, or for each batch row several."""
    rows, step = x.shape[1], step_for(x, x.shape[2])
    if step is None:
        yield _Block(slice(None), 0, 0, rows, rows)
        return
    for b in range(x.shape[0]):
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            yield _Block(slice(b, b + 1), max(0, start - halo), start, stop, min(stop + halo, rows))


def _taps(s: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``s [B, T, D]`` and ``w [D, W]``, both wide, to [B, T, D]."""
    width = w.shape[1]
    y = s * w[:, -1] if bias is None else torch.addcmul(wide(bias), s, w[:, -1])
    for lag in range(1, min(width, s.shape[1])):
        y[:, lag:].addcmul_(s[:, :-lag], w[:, width - 1 - lag])
    return y


def _input_gradient(d: torch.Tensor, w: torch.Tensor, rows: int) -> torch.Tensor:
    """That of the first ``rows`` inputs; ``d`` is the sums' gradient from the same row on, as far as it matters."""
    ds = d[:, :rows] * w[:, -1]
    for lag in range(1, w.shape[1]):
        later = d[:, lag:lag + rows]
        if later.shape[1]:
            ds[:, :later.shape[1]].addcmul_(later, w[:, w.shape[1] - 1 - lag])
    return ds


def _weight_gradient(d: torch.Tensor, s: torch.Tensor, width: int) -> torch.Tensor:
    """[D, W] for the sums' gradient ``d [B, T, D]``; ``s [B, T', D]`` ends with d's rows and may begin before."""
    rows, behind = d.shape[1], s.shape[1] - d.shape[1]
    columns = []
    for lag in range(width):
        lack = min(max(0, lag - behind), rows)  # rows whose input would lie before the first
        columns.append((d[:, lack:] * s[:, behind - lag + lack:behind - lag + rows]).sum((0, 1)) if lack < rows
                       else d.new_zeros(d.shape[2]))
    return torch.stack(columns[::-1], -1)


def _forward(x, weight, bias, activation, block: _Block) -> torch.Tensor:
    y = _taps(wide(x[block.batch, block.begin:block.stop]), wide(weight), bias)[:, block.start - block.begin:]
    return y if activation is None else gate_named(activation).value(y)


def _backward(dy, x, weight, bias, activation, block: _Block):
    """The gradients of the block's x, and its share in those of weight and bias."""
    w, rows = wide(weight), block.stop - block.start
    s, d = wide(x[block.batch, block.begin:block.end]), wide(dy[block.batch, block.start:block.end])
    if activation is not None:
        d = d * gate_named(activation).slope(_taps(s, w, bias)[:, block.start - block.begin:])
    ds = _input_gradient(d, w, rows)
    now = d[:, :rows]
    dw = _weight_gradient(now, s[:, :block.stop - block.begin], w.shape[1])
    return ds, dw, None if bias is None else now.sum((0, 1))


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, activation):
        ctx.save_for_backward(x, weight, bias)
        ctx.activation = activation
        blocks = list(_blocks(x, weight.shape[1] - 1))
        if len(blocks) == 1:
            return _forward(x, weight, bias, activation, blocks[0])
        y = torch.empty(x.shape, dtype=wide(x[:0]).dtype, device=x.device)
        for block in blocks:
            y[block.batch, block.start:block.stop] = _forward(x, weight, bias, activation, block)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, weight, bias = ctx.saved_tensors
        blocks = list(_blocks(x, weight.shape[1] - 1))
        if len(blocks) == 1:
            dx, dw, db = _backward(dy, x, weight, bias, ctx.activation, blocks[0])
        else:
            dx, dw, db = torch.empty_like(x), 0, 0
            for block in blocks:
                ds, dw_part, db_part = _backward(dy, x, weight, bias, ctx.activation, block)
                dx[block.batch, block.start:block.stop] = ds
                dw, db = dw + dw_part, None if bias is None else db + db_part
        return dx.to(x.dtype), dw.to(weight.dtype), None if bias is None else db.to(bias.dtype), None


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, activation: str | None) -> torch.Tensor:
    """``x [B, T, D]``, ``weight [D, W]``, ``bias [D]`` or None to [B, T, D] in float32 (float64 for float64)."""
    return _Convolve.apply(x, weight, bias, activation)
