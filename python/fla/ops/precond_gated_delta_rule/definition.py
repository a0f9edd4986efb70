"""The preconditioned delta rules, with q and k normalised first where that is wanted."""

from __future__ import annotations

from fla.lang import Param, Scalar, State, Vec, l2norm, load, recurrence

from .._steps import channel_gate

__all__ = ["precond_gated_delta_rule", "precond_kda"]

HEADS, CHANNELS = load("precond_gated_delta_rule"), load("precond_kda")


@recurrence
def precond_gated_delta_rule(
    S: State["K", "V"], A: State["K"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g_atk: Scalar, g: Scalar,
    beta_atk: Scalar, beta: Scalar, log_atk_scale: Param[()] | None = None, *, scale: float = 1.0, x: float = 1.5,
    eps: float = 1e-6, normalise: bool = True,
):
    if normalise:
        q, k = l2norm(q), l2norm(k)
    *states, o = HEADS(S, A, q, k, v, g_atk, g, beta_atk, beta, scale, x, eps, log_atk_scale)
    return tuple(states), o


@recurrence
def precond_kda(
    S: State["K", "V"], A: State["K"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Vec["K"], g_atk: Scalar,
    beta_atk: Scalar, beta: Scalar, A_log: Param[()] | None = None, dt_bias: Param["K"] | None = None,
    log_atk_scale: Param[()] | None = None, *, scale: float = 1.0, x: float = 1.5, eps: float = 1e-6,
    lower_bound: float = -5.0, gate: str = "given", normalise: bool = True,
):
    if normalise:
        q, k = l2norm(q), l2norm(k)
    if gate != "given":
        g = channel_gate(g, A_log, dt_bias, gate == "bounded", lower_bound)
    *states, o = CHANNELS(S, A, q, k, v, g, g_atk, beta_atk, beta, scale, x, eps, log_atk_scale)
    return tuple(states), o
