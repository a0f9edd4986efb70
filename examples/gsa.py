"""Gated slot attention: two states and a softmax between them."""

import torch

from fla.lang import State, Vec, exp, outer, recurrence, softmax


@recurrence
def gsa(Hk: State["K", "M"], Hv: State["M", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], s: Vec["M"], g: Vec["M"],
        *, scale: float = 1.0):
    Hk = exp(g) * Hk + outer(k, s)
    p = softmax(Hk.T @ (scale * q))
    Hv = exp(g) * Hv + outer(s, v)
    return (Hk, Hv), Hv.T @ p


if __name__ == "__main__":
    B, T, H, K, M = 1, 128, 2, 16, 8
    g = torch.nn.functional.logsigmoid(torch.randn(B, T, H, M)) / 8
    q, k, v = torch.randn(3, B, T, H, K)
    o, (hk, hv) = gsa(q, k, v, 1 - g.exp(), g, scale=K ** -0.5, output_final_state=True)
    print(gsa)
    print("output", tuple(o.shape), "states", tuple(hk.shape), tuple(hv.shape))
