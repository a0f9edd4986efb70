"""The short causal convolution over batches and packed sequences, with its state in and out."""

from __future__ import annotations

import torch

from .._precision import wide
from .._sequences import Packed, check_packed
from ._arguments import check_activation, check_weight, flat, state_of_width
from ._compiled import convolve_compiled, is_faster
from ._taps import convolve

__all__ = ["causal_conv1d", "causal_conv1d_update_states"]


def _starts(seq_idx: torch.Tensor) -> torch.Tensor:
    """Boundaries [N+1] of the runs of equal numbers in ``seq_idx [1, T]``."""
    ids = seq_idx.flatten()
    changes = torch.nonzero(ids[1:] != ids[:-1]).flatten() + 1
    return torch.cat([changes.new_zeros(1), changes, changes.new_full((1,), ids.shape[0])])


def _boundaries(x, cu_seqlens, seq_idx):
    if cu_seqlens is None and seq_idx is not None:
        if seq_idx.shape != x.shape[:2] or x.shape[0] != 1:
            raise ValueError(f"expected seq_idx of shape (1, {x.shape[1]}) and a batch size of 1, "
                             f"got {tuple(seq_idx.shape)} and {x.shape[0]}")
        return _starts(seq_idx)
    if cu_seqlens is not None:
        check_packed(x, cu_seqlens)
    return cu_seqlens


def _over_batch(x, weight, bias, state, activation, wants_state):
    """Sequences are batch rows. Returns y in float32 or float64 and the last W inputs [N, D, W] or None."""
    width, rows = weight.shape[1], x.shape[1]
    if state is None:
        y, before = convolve(x, weight, bias, activation), x.new_zeros(x.shape[0], width, x.shape[2])
    else:
        before = state.transpose(1, 2).to(x.dtype)
        y = convolve(torch.cat([before, x], 1), weight, bias, activation)[:, width:]
    if not wants_state:
        return y, None
    recent = x[:, rows - width:] if rows >= width else torch.cat([before, x], 1)[:, rows:]
    return y, recent.transpose(1, 2).contiguous()


def _over_packed(x, weight, bias, state, activation, wants_state, cu_seqlens):
    """Sequences lie one after another; each gets W rows of history before it, so that no window leaves it."""
    packed = Packed(cu_seqlens, x.shape[1], weight.shape[1])
    spread = packed.spread(x, None if state is None else state.transpose(1, 2))
    y = packed.gather(convolve(spread, weight, bias, activation))
    return y, packed.last(spread).transpose(1, 2).contiguous() if wants_state else None


def causal_conv1d(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool | None = False,
    activation: str | None = None,
    backend: str | None = "triton",
    cu_seqlens: torch.Tensor | None = None,
    cu_seqlens_cpu: torch.LongTensor | None = None,
    chunk_indices: torch.LongTensor | None = None,
    cp_context=None,
    *,
    seq_idx: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """y_t = act(sum_w weight[:, w] x_{t-W+1+w} + bias) + residual_t, channel by channel.

    Args:
        x: [B, T, D], or [B, T, H, D/H], in float16, bfloat16, float32 or float64.
        weight: [D, W]; the last column is that of the current token.
        bias: [D] or None.
        residual: like x; added after the activation (the Canon layer).
        initial_state: the last inputs before each sequence, [N, D, W], newest last. Its
            oldest column reaches no output, so [N, D, W-1] does as well.
        output_final_state: whether the state after the last token is returned.
        activation: silu, swish or None.
        backend: accepted; there is one implementation.
        cu_seqlens: boundaries [N+1] of sequences packed into x [1, T, D].
        cu_seqlens_cpu, chunk_indices: accepted and not needed.
        seq_idx: [1, T] numbers of sequences, another way to give their boundaries.

    Returns:
        y like x, computed in float32 (float64 for float64) and given in the dtype of x, and
        the final state [N, D, W] in the dtype of x, or None.

    Raises ValueError for shapes or an activation that do not fit, NotImplementedError when
    ``cp_context`` asks for a sequence spread over several processes.
    """
    if cp_context is not None:
        raise NotImplementedError("expected cp_context=None: a convolution over several processes is not supported")
    check_activation(activation)
    check_weight(weight, bias)
    shape, x = x.shape, flat(x, weight.shape[0])
    cu_seqlens = _boundaries(x, cu_seqlens, seq_idx)
    sequences = x.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    state = None if initial_state is None else state_of_width(initial_state, sequences, *weight.shape)
    if is_faster(x, weight, activation, sequences):
        residual = None if residual is None else residual.reshape(x.shape)
        y = convolve_compiled(x, weight, bias, residual, state, cu_seqlens)
        final = causal_conv1d_update_states(x, weight.shape[1], state, cu_seqlens) if output_final_state else None
        return y.reshape(shape), final
    if cu_seqlens is None:
        y, final = _over_batch(x, weight, bias, state, activation, output_final_state)
    else:
        y, final = _over_packed(x, weight, bias, state, activation, output_final_state, cu_seqlens)
    if residual is not None:
        y = y + wide(residual.reshape(x.shape))
    return y.to(x.dtype).reshape(shape), final


def causal_conv1d_update_states(x: torch.Tensor, state_len: int, initial_state: torch.Tensor | None = None,
                                cu_seqlens: torch.Tensor | None = None) -> torch.Tensor:
    """The last ``state_len`` inputs of each sequence of ``x [B, T, D]``, after ``initial_state [N, D, state_len]``.

    Returns [N, D, state_len] in the dtype of x; zeros stand before the first input.
    """
    sequences = x.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    if cu_seqlens is not None:
        check_packed(x, cu_seqlens)
    if initial_state is None:
        initial_state = x.new_zeros(sequences, x.shape[-1], state_len)
    before = state_of_width(initial_state, sequences, x.shape[-1], state_len).transpose(1, 2)[:, -state_len:]
    if cu_seqlens is None:
        recent = torch.cat([before.to(x.dtype), x], 1)[:, x.shape[1]:]
    else:
        packed = Packed(cu_seqlens, x.shape[1], state_len)
        recent = packed.last(packed.spread(x, before))
    return recent.transpose(1, 2).contiguous()
