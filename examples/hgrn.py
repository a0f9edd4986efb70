"""HGRN: a vector state, gated elementwise."""

import torch

from fla.lang import State, Vec, exp, recurrence


@recurrence
def hgrn(h: State["D"], x: Vec["D"], g: Vec["D"]):
    h = exp(g) * h + x
    return h, h


if __name__ == "__main__":
    x, f = torch.randn(2, 1, 128, 2, 16)
    o, final = hgrn(x, torch.nn.functional.logsigmoid(f), output_final_state=True)
    print(hgrn)
    print("output", tuple(o.shape), "state", tuple(final.shape))
