"""What a token lacks from the one before it: y_t = x_{t-1} - x_t, as RWKV mixes tokens.

Source: Peng et al. 2023, RWKV, section 3.1.
"""

from __future__ import annotations

import torch

from ._applies import applies
from ._sequences import check_packed, sequence_of_rows

__all__ = ["TokenShift", "token_shift", "token_shift_bwd", "token_shift_fwd", "token_shift_ref"]


def token_shift_ref(x: torch.Tensor, cu_seqlens: torch.Tensor | None = None) -> torch.Tensor:
    """:func:`token_shift` sequence by sequence, in a loop."""
    if cu_seqlens is not None:
        check_packed(x, cu_seqlens)
        bounds = cu_seqlens.tolist()
        parts = [token_shift_ref(x[:, start:end]) for start, end in zip(bounds, bounds[1:])]
        return torch.cat([*parts, token_shift_ref(x[:, bounds[-1]:])], 1)
    before = torch.zeros_like(x)
    before[:, 1:] = x[:, :-1]
    return before - x


def _before(x: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """The row before each row of ``x [B, T, D]``; ``first [B, 1, D]`` before the first."""
    return torch.cat([first, x], 1)[:, :x.shape[1]]


def _shift_batch(x, cache, output_cache):
    batch, rows, width = x.shape
    first = x.new_zeros(batch, 1, width) if cache is None else cache.reshape(batch, 1, width).to(x.dtype)
    last = torch.cat([first, x], 1)[:, -1] if output_cache else None
    return _before(x, first) - x, last


def _shift_packed(x, cu_seqlens, cache, output_cache):
    sequences, width = cu_seqlens.shape[0] - 1, x.shape[-1]
    of = sequence_of_rows(cu_seqlens, x.shape[1])
    starts = torch.cat([torch.ones_like(of[:1], dtype=torch.bool), of[1:] != of[:-1]])[None, :, None]
    first = x.new_zeros(sequences + 1, width)  # the last for the rows past the last boundary
    if cache is not None:
        first = torch.cat([cache.reshape(sequences, width).to(x.dtype), first[-1:]])
    y = torch.where(starts, first[of][None], _before(x, x.new_zeros(1, 1, width))) - x
    if not output_cache:
        return y, None
    ends = cu_seqlens[1:].long()
    rows = torch.cat([x.new_zeros(1, width), x[0]])[ends]
    return y, torch.where((ends > cu_seqlens[:-1])[:, None], rows, first[:-1])


def token_shift_fwd(x: torch.Tensor, cu_seqlens: torch.Tensor | None = None, cache: torch.Tensor | None = None,
                    output_cache: bool = False, chunk_indices: torch.LongTensor | None = None):
    """(y, N, longest length, False, new cache or None); the fourth is there for callers that unpack five."""
    if cu_seqlens is None:
        y, last = _shift_batch(x, cache, output_cache)
        return y, x.shape[0], x.shape[1], False, last
    check_packed(x, cu_seqlens)
    y, last = _shift_packed(x, cu_seqlens, cache, output_cache)
    lengths = cu_seqlens.diff()
    return y, lengths.numel(), int(lengths.max()) if lengths.numel() else 0, False, last


def token_shift_bwd(dy: torch.Tensor, N: int, T: int, dcache: torch.Tensor | None = None,
                    cu_seqlens: torch.Tensor | None = None, use_short_kernel: bool = True,
                    has_init_cache: bool = False, chunk_indices: torch.LongTensor | None = None):
    """(dx, gradient of the cache or None) of :func:`token_shift` for ``dy [B, T, D]`` and ``dcache [N, D]``."""
    with torch.enable_grad():
        x = torch.zeros_like(dy).requires_grad_()
        cache = dy.new_zeros(N, dy.shape[-1]).requires_grad_()
        y, last = token_shift(x, cu_seqlens, cache, output_cache=True)
    outputs, grads = ((y,), (dy,)) if dcache is None else ((y, last), (dy, dcache))
    dx, dfirst = torch.autograd.grad(outputs, (x, cache), grads)
    return dx, dfirst if has_init_cache else None


def token_shift(x: torch.Tensor, cu_seqlens: torch.LongTensor | None = None, cache: torch.Tensor | None = None,
                output_cache: bool = False, chunk_indices: torch.LongTensor | None = None):
    """y_t = x_{t-1} - x_t for ``x [B, T, D]`` of any dtype.

    Args:
        cu_seqlens: boundaries [N+1] of sequences packed into ``x [1, T, D]``.
        cache: the token before the first of each sequence, [N, D] or [N, 1, D]; zero without it.
        output_cache: whether the last token of each sequence is returned too.
        chunk_indices: accepted and not needed.

    Returns:
        y [B, T, D]; with ``output_cache`` (y, last [N, D]), the cache of the next call. A
        sequence without a token gives its cache back.

    Raises ValueError when x is not [B, T, D] or cu_seqlens does not fit it.
    """
    if x.dim() != 3:
        raise ValueError(f"expected x of shape [B, T, D], got {tuple(x.shape)}")
    if cu_seqlens is None:
        y, last = _shift_batch(x, cache, output_cache)
    else:
        check_packed(x, cu_seqlens)
        y, last = _shift_packed(x, cu_seqlens, cache, output_cache)
    return (y, last) if output_cache else y


def _shift_both(x, cu_seqlens=None, cache=None, output_cache=False, chunk_indices=None):
    result = token_shift(x, cu_seqlens, cache, output_cache, chunk_indices)
    return result if output_cache else (result, None)


TokenShift = applies("TokenShift", _shift_both, __name__)
