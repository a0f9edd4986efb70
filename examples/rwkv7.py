"""RWKV7 with its in-layer gates: decay, in-context rate and key made from projections."""

import torch

from fla.lang import Param, State, Vec, exp, l2norm, outer, recurrence, sigmoid


@recurrence
def rwkv7(S: State["K", "V"], r: Vec["K"], w: Vec["K"], k: Vec["K"], v: Vec["V"], a: Vec["K"],
          k_k: Param["K"], k_a: Param["K"]):
    a, kk = sigmoid(a), l2norm(k * k_k)
    k = k * (1 + (a - 1) * k_a)
    read = S.T @ kk
    S = exp(-0.6065306597126334 * sigmoid(w)) * S
    S = S - outer(kk * a, read) + outer(k, v)
    return S, S.T @ r


if __name__ == "__main__":
    r, w, k, v, a = torch.randn(5, 1, 128, 2, 16)
    o, _ = rwkv7(r, w, k, v, a, torch.ones(2, 16), torch.ones(2, 16))
    print(rwkv7)
    print("output", tuple(o.shape))
