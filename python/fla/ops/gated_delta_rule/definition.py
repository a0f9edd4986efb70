"""The gated delta rule with what its callers want done to its arguments first.

Each combination of gates is the library's definition of that class; normalised
keys, gates made of logits and rates made of logits are part of its kernels.
"""

from __future__ import annotations

from fla.lang import Param, Scalar, State, Vec, exp, l2norm, load, recurrence, softplus

from .._steps import write_rate

__all__ = ["gated_delta_rule"]

DELTA, GATED, KEY_GATED, ALL_GATES = map(load, ("delta_rule", "gated_delta_rule", "kda", "gated_delta_rule_gates"))


@recurrence
def gated_delta_rule(
    S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar | None = None, gk: Vec["K"] | None = None,
    gv: Vec["V"] | None = None, beta: Scalar | None = None, A_log: Param[()] | None = None,
    dt_bias: Param[()] | None = None, *, scale: float = 1.0, normalise: bool = False, logits: bool = False,
    reflect: bool = False,
):
    if normalise:
        q, k = l2norm(q), l2norm(k)
    if A_log is not None:
        g = -exp(A_log) * softplus(g if dt_bias is None else g + dt_bias)
    beta = write_rate(beta, logits, reflect)
    if gk is None and gv is None:
        return DELTA(S, q, k, v, beta, scale) if g is None else GATED(S, q, k, v, g, beta, scale)
    if g is None and gv is None:
        return KEY_GATED(S, q, k, v, gk, beta, scale)
    return ALL_GATES(S, q, k, v, g, gk, gv, beta, scale)
