"""Row-wise functions on a CPU, block of rows by block.

A chain of element-wise operations over a large tensor writes each intermediate result to
memory that the system has to hand out first, which takes several times as long as the
arithmetic. Taken in blocks, intermediate results stay in the cache and in memory at hand.
On a GPU, under a compiler, and where autograd records the operations, there is one block.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["by_blocks", "is_large", "step_for"]

_COMPILED = (torch.float32, torch.bfloat16, torch.float16)
_ELEMENTS = 1 << 17  # of one tensor in a block: half a megabyte of float32


def step_for(x: torch.Tensor, width: int) -> int | None:
    """How many rows of ``width`` numbers make a block of x, or None when x is better taken whole."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.is_grad_enabled():
        return None
    step = max(1, _ELEMENTS // max(width, 1))
    return step if x.numel() > 2 * step * width else None


def is_large(rows: torch.Tensor, *devices: str) -> bool:
    """Whether ``rows [R, D]`` are on one of the devices and worth a compiled call, which takes as long as PyTorch for 2^18 numbers."""
    if rows.device.type not in devices or torch.compiler.is_compiling() or rows.dtype not in _COMPILED:
        return False
    return rows.numel() >= 1 << 18 and 32 <= rows.shape[1] <= 8192


def by_blocks(function: Callable[..., tuple], tensors: tuple, row_results: int) -> tuple:
    """``function(*tensors)`` of tensors [R, ...] or None, which must treat rows alike.

    It returns a tuple: ``row_results`` tensors [R, ...] or None first, then sums over rows or None.
    """
    first = tensors[0]
    step = step_for(first, first.numel() // max(first.shape[0], 1))
    if step is None:
        return function(*tensors)
    whole = sums = None
    for start in range(0, first.shape[0], step):
        rows = slice(start, start + step)
        results = function(*(None if t is None else t[rows] for t in tensors))
        if whole is None:
            whole = [None if r is None else r.new_empty((first.shape[0], *r.shape[1:])) for r in results[:row_results]]
            sums = list(results[row_results:])
        else:
            sums = [None if a is None else a + b for a, b in zip(sums, results[row_results:])]
        for to, part in zip(whole, results):
            if to is not None:
                to[rows] = part
    return (*whole, *sums)
