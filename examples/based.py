"""Based: linear attention on the features 1, x, x x^T / sqrt(2), with a normaliser."""

import torch

from fla.lang import State, Vec, concat, dot, flatten, outer, recurrence


def taylor(x):
    return concat(1.0, x, flatten(outer(x, x)) * 0.5 ** 0.5)


@recurrence
def based(S: State["1 + D + D*D", "V"], z: State["1 + D + D*D"], q: Vec["D"], k: Vec["D"], v: Vec["V"],
          *, scale: float = 1.0, eps: float = 1e-6):
    fq, fk = taylor(scale * q), taylor(k)
    S, z = S + outer(fk, v), z + fk
    return (S, z), S.T @ fq / (dot(fq, z) + eps)


if __name__ == "__main__":
    q, k = torch.randn(2, 1, 128, 2, 8)
    o, _ = based(q, k, torch.randn(1, 128, 2, 16), scale=8 ** -0.5)
    print(based)
    print("output", tuple(o.shape))
