"""The states at the starts of chunks, for callers that keep them."""

from __future__ import annotations

import torch

from ._calls import run

__all__ = ["chunk_states"]


def _pieces(batch: int, tokens: int, cu_seqlens, chunk: int) -> tuple[list[int], list[int]]:
    """(offsets of all chunks, none across two sequences, offsets of the sequences) of the tokens in one row."""
    ends = [i * tokens for i in range(batch + 1)] if cu_seqlens is None else cu_seqlens.tolist()
    starts = [i for a, b in zip(ends, ends[1:]) for i in range(a, b, chunk)]
    return [*starts, ends[-1]], ends


@torch.no_grad()
def chunk_states(definition, chunk: int, *, initial_state=None, cu_seqlens=None, state_v_first: bool = False,
                 **arguments) -> torch.Tensor:
    """[B, chunks, H, K, V] in bfloat16: the state before each chunk; packed sequences have theirs in a row.

    A chunk's own call starts from the state that the one before left.
    """
    tokens = {p.name for p in definition.parameters if p.role == "token"}
    given = {n: x for n, x in arguments.items() if n in tokens and x is not None}
    batch, length = next(iter(given.values())).shape[:2]
    rows = {n: x.reshape(1, batch * length, *x.shape[2:]) for n, x in given.items()}
    offsets, ends = _pieces(batch, length, cu_seqlens, chunk)
    states, state = [], None
    for start, end in zip(offsets, offsets[1:]):
        n = ends.index(start) if start in ends[:-1] else None
        if n is not None:
            while ends[n + 1] == start:  # an empty sequence has no chunk
                n += 1
            state = None if initial_state is None else initial_state[n:n + 1]
        piece = {name: x[:, start:end] for name, x in rows.items()}
        _, after = run(definition, "chunk", initial_state=state, output_final_state=True, state_v_first=state_v_first,
                       **{**arguments, **piece})
        states.append(torch.zeros_like(after) if state is None else state)
        state = after
    found = torch.cat(states).to(torch.bfloat16)
    return found.unsqueeze(0) if cu_seqlens is not None else found.reshape(batch, -1, *found.shape[1:])
