"""Mamba-3 (SISO): trapezoidal steps, and keys and queries turned by a cumulative angle."""

import torch

from fla.lang import Scalar, State, Vec, exp, outer, recurrence, rotate


@recurrence
def mamba3(S: State["2*R", "V"], theta: State["R"], kp: State["2*R"], vp: State["V"], q: Vec["2*R"], k: Vec["2*R"],
           v: Vec["V"], g: Scalar, dt: Scalar, trap: Scalar, angle: Vec["R"]):
    theta = theta + dt * angle
    k, q = rotate(k, theta), rotate(q, theta)
    S = exp(g) * S
    S = S + outer(kp, (1 - trap) * dt * exp(g) * vp) + outer(k, trap * dt * v)
    return (S, theta, k, v), S.T @ q


if __name__ == "__main__":
    q, k = torch.randn(2, 1, 128, 2, 8)
    dt, trap = torch.rand(2, 1, 128, 2)
    o, _ = mamba3(q, k, torch.randn(1, 128, 2, 16), -dt, dt, trap, torch.randn(1, 128, 2, 4))
    print(mamba3)
    print("output", tuple(o.shape))
