"""KDA with its gate made inside the step, unbounded or with a lower bound."""

import torch

from fla.lang import Param, Scalar, State, Vec, exp, outer, recurrence, sigmoid, softplus, unit


@recurrence
def kda(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Vec["K"], beta: Scalar,
        A_log: Param[()], dt_bias: Param["K"] | None = None, *, bounded: bool = False, lower_bound: float = -5.0,
        scale: float = 1.0):
    x, k = g if dt_bias is None else g + dt_bias, unit(k)
    decay = lower_bound * sigmoid(exp(A_log) * x) if bounded else -exp(A_log) * softplus(x)
    S = exp(decay) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, scale * (S.T @ q)


if __name__ == "__main__":
    q, k, v, g = torch.randn(4, 1, 128, 2, 16)
    k = torch.nn.functional.normalize(k, dim=-1)
    o, _ = kda(q, k, v, g, torch.rand(1, 128, 2), torch.zeros(2), torch.zeros(2, 16), bounded=True)
    print(kda)
    print("output", tuple(o.shape))
