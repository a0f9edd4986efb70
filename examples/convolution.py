"""A causal convolution of width 4 in front of the keys: three states hold the last keys."""

import torch

from fla.lang import Param, State, Vec, exp, outer, recurrence, silu, sum


@recurrence
def convolved(S: State["K", "V"], k1: State["K"], k2: State["K"], k3: State["K"], q: Vec["K"], k: Vec["K"],
              v: Vec["V"], gk: Vec["K"], w: Param["n", "K"], *, n: int = 4):
    window = (k3, k2, k1, k)
    x = silu(sum([w[i] * window[i] for i in range(n)]))
    S = exp(gk) * S + outer(x, v)
    return (S, k, k1, k2), S.T @ q


if __name__ == "__main__":
    q, k, v, g = torch.randn(4, 1, 128, 2, 16)
    o, _ = convolved(q, k, v, torch.nn.functional.logsigmoid(g), torch.randn(2, 4, 16))
    print(convolved)
    print("output", tuple(o.shape))
