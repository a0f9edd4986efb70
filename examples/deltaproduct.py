"""DeltaProduct: n delta-rule steps a token, n chosen when the kernel is compiled."""

import torch

from fla.lang import Scalar, State, Vec, exp, outer, recurrence


@recurrence
def gated_delta_product(S: State["K", "V"], q: Vec["K"], k: Vec["n", "K"], v: Vec["n", "V"], beta: Vec["n"],
                        g: Scalar | None = None, *, n: int = 2, scale: float = 1.0):
    if g is not None:
        S = exp(g) * S
    for i in range(n):
        S = S + outer(k[i], beta[i] * (v[i] - S.T @ k[i]))
    return S, scale * (S.T @ q)


if __name__ == "__main__":
    B, T, H, K, V, n = 1, 128, 2, 16, 16, 3
    k = torch.nn.functional.normalize(torch.randn(B, T, H, n, K), dim=-1)
    o, _ = gated_delta_product(torch.randn(B, T, H, K), k, torch.randn(B, T, H, n, V),
                               2 * torch.rand(B, T, H, n), n=n, scale=K ** -0.5)
    print(gated_delta_product)
    print("output", tuple(o.shape))
