"""Mamba's selective scan: an elementwise state with a decay from a per-head parameter."""

import torch

from fla.lang import Param, State, Vec, exp, outer, recurrence


@recurrence
def mamba(h: State["D", "N"], x: Vec["D"], dt: Vec["D"], A: Param["D", "N"], B: Vec["N"], C: Vec["N"], D: Param["D"]):
    h = exp(dt * A) * h + outer(dt * x, B)
    return h, h @ C + D * x


if __name__ == "__main__":
    B, T, D, N = 1, 128, 8, 4
    x, dt = torch.randn(B, T, D), torch.rand(B, T, D)
    y, _ = mamba(x, dt, -torch.rand(D, N), torch.randn(B, T, N), torch.randn(B, T, N), torch.ones(D))
    print(mamba)
    print("output", tuple(y.shape))
