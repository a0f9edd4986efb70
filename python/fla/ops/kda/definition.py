"""Kimi delta attention with what its callers want done to its arguments first."""

from __future__ import annotations

from fla.lang import Param, Scalar, State, Vec, l2norm, load, recurrence

from .._steps import channel_gate, write_rate

__all__ = ["kda"]

KDA = load("kda")


@recurrence
def kda(
    S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Vec["K"], beta: Scalar,
    A_log: Param[()] | None = None, dt_bias: Param["K"] | None = None, *, scale: float = 1.0,
    lower_bound: float = -5.0, gate: str = "given", normalise: bool = False, logits: bool = False,
    reflect: bool = False,
):
    if normalise:
        q, k = l2norm(q), l2norm(k)
    if gate != "given":
        g = channel_gate(g, A_log, dt_bias, gate == "bounded", lower_bound)
    return KDA(S, q, k, v, g, write_rate(beta, logits, reflect), scale)
