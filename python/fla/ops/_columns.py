"""A delta rule with a rate for each channel of the values: a head for each column of the state.

The columns of a delta rule's state do not see each other, so that a rate a column is
a rate a head once every column is a head of its own, with values of one number.
"""

from __future__ import annotations

import torch

from ._calls import run

__all__ = ["in_columns"]


def _wide(x: torch.Tensor, heads: int, axis: int) -> torch.Tensor:
    """x with `heads` heads on `axis`, each group of them sharing one of x's."""
    return x.repeat_interleave(heads // x.shape[axis], axis) if x.shape[axis] != heads else x


def in_columns(definition, form: str, *, v: torch.Tensor, beta: torch.Tensor, gv: torch.Tensor | None = None,
               initial_state=None, state_v_first: bool = False, output_final_state: bool = False, **arguments):
    """run() of a delta rule with beta [B, T, HV, V]."""
    heads, width = v.shape[2:]
    if beta.shape != v.shape:
        raise ValueError(f"beta: expected shape [B, T, HV] or v's {list(v.shape)}, got {list(beta.shape)}")
    token = {name: x for name, x in arguments.items() if isinstance(x, torch.Tensor) and name in ("g", "gk")}
    arguments.update({name: _wide(_wide(x, heads, 2), heads * width, 2) for name, x in token.items()})
    params = {name: x for name, x in arguments.items() if isinstance(x, torch.Tensor) and name in ("A_log", "dt_bias")}
    arguments.update({name: _wide(_wide(x, heads, 0), heads * width, 0) for name, x in params.items()})
    if gv is not None:
        arguments["gv"] = gv.reshape(*gv.shape[:2], heads * width, 1)
    if initial_state is not None:
        rows = initial_state if state_v_first else initial_state.transpose(-1, -2)
        initial_state = rows.reshape(rows.shape[0], heads * width, rows.shape[-1], 1)
    o, final = run(definition, form, v=v.reshape(*v.shape[:2], heads * width, 1),
                   beta=beta.reshape(*beta.shape[:2], heads * width), initial_state=initial_state,
                   output_final_state=output_final_state, **arguments)
    if final is not None:
        final = final.reshape(final.shape[0], heads, width, final.shape[2])
        final = final if state_v_first else final.transpose(-1, -2)
    return o.reshape(v.shape), final
