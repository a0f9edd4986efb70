"""Calls of a definition as the operators make them: backwards in time, with states stored V first."""

from __future__ import annotations

import torch

__all__ = ["run", "reverse_tokens"]


def _reversal(cu_seqlens: torch.Tensor, tokens: int) -> torch.Tensor:
    """[T]: where each token goes when every sequence is reversed in place."""
    at = torch.arange(tokens, device=cu_seqlens.device)
    offsets = cu_seqlens.to(torch.int64)
    n = torch.searchsorted(offsets[1:].contiguous(), at, right=True)
    last = offsets.shape[0] - 1
    mirrored = offsets[n.clamp(max=last)] + offsets[(n + 1).clamp(max=last)] - 1 - at
    return torch.where(n < last, mirrored, at)  # rows past the last sequence stay


def reverse_tokens(x: torch.Tensor, cu_seqlens: torch.Tensor | None) -> torch.Tensor:
    """x [B, T, ...] with the tokens of each sequence in reverse order."""
    return x.flip(1) if cu_seqlens is None else x[:, _reversal(cu_seqlens, x.shape[1])]


def _transposed(state):
    return None if state is None else state.transpose(-1, -2)


def run(definition, form: str, *, initial_state=None, output_final_state: bool = False, cu_seqlens=None,
        chunk_size: int | None = None, reverse: bool = False, state_v_first: bool = False, **arguments):
    """(output, final state or None) of a definition with one output.

    form: "recurrent", or "chunk", in which a few tokens go one by one unless
    chunk_size is given. reverse: from the last token to the first. state_v_first:
    states are [N, H, V, K].
    """
    if reverse:
        tokens = {p.name for p in definition.parameters if p.role == "token"}
        arguments = {name: reverse_tokens(x, cu_seqlens) if name in tokens and x is not None else x
                     for name, x in arguments.items()}
    if state_v_first:
        initial_state = _transposed(initial_state)
    form = "auto" if form == "chunk" and chunk_size is None else form
    o, final = definition(**arguments, initial_state=initial_state, output_final_state=output_final_state,
                          cu_seqlens=cu_seqlens, form=form, chunk_size=chunk_size)
    if state_v_first:
        final = _transposed(final)
    return reverse_tokens(o, cu_seqlens) if reverse else o, final
