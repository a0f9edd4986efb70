"""The short convolution by the library's definition, on inputs for which that is faster than PyTorch.

That is with four taps and silu, and with enough tokens to pay for a call; on a GPU also with
enough channels of sequences, since each walks its tokens by itself
(docs/Rationale/short-convolution.md has the figures). Anything else is left to
:mod:`fla.modules.conv._taps`. A backward of this one cannot be differentiated again.
"""

from __future__ import annotations

import torch

__all__ = ["convolve_compiled", "is_faster"]

_WIDTH = 4  # taps of the definition
_CHANNELS = 64  # of a head: its rows of a chunk fit the first-level cache; other heads are other threads' work
_TOKENS = 64  # of a sequence, at least: a backward takes that many at a time
_BLOCKS = 128  # of heads of sequences on a GPU, at least
_NUMBERS = 1 << 18  # of x, at least: a call takes as long as PyTorch does for so many
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def is_faster(x: torch.Tensor, weight: torch.Tensor, activation: str | None, sequences: int) -> bool:
    """Whether ``x [B, T, D]`` of so many sequences is better taken by the compiled definition."""
    if x.device.type not in ("cpu", "cuda") or torch.compiler.is_compiling() or x.dtype not in _DTYPES:
        return False
    if x.is_cuda and sequences * (x.shape[2] // _CHANNELS) < _BLOCKS:
        return False
    fits = weight.shape[1] == _WIDTH and activation is not None and x.shape[2] % _CHANNELS == 0
    return fits and x.numel() >= _NUMBERS and x.shape[0] * x.shape[1] >= _TOKENS * max(sequences, 1)


def _heads(t: torch.Tensor) -> torch.Tensor:
    """Channels [..., D] as [..., H, D/H]."""
    return t.unflatten(-1, (-1, _CHANNELS))


def convolve_compiled(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, residual: torch.Tensor | None,
                      state: torch.Tensor | None, cu_seqlens: torch.Tensor | None) -> torch.Tensor:
    """silu of the convolution plus the residual, in the dtype of x.

    x and residual are [B, T, D], weight [D, 4], bias [D], state [N, D, 4], cu_seqlens [N+1];
    rows past the last sequence are zero.
    """
    from fla.lang import load
    taps = {f"w{i}": w for i, w in enumerate(_heads(weight.t().contiguous()).unbind(0))}
    before = None if state is None else [_heads(column) for column in state.unbind(-1)[1:]]
    y, _ = load("short_conv")(_heads(x), **taps, bias=None if bias is None else _heads(bias),
                              residual=None if residual is None else _heads(residual), initial_state=before,
                              cu_seqlens=cu_seqlens, form="chunk")
    return y.flatten(-2)
