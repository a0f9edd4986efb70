"""Gated delta rule and simple GLA against the same chunk algorithms in eager PyTorch.

    python benchmarks/eager_chunks.py [--tokens 4096] [--heads 8] [--rounds 5]

fp32, batch 1, K = V = 128, forward and forward + backward, all contestants in one
alternating run with a 2048 x 2048 x 2048 product, whose rate is taken for the
machine's fp32 matmul rate. Results are compared before anything is timed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Callable

import torch
from torch.nn import functional as F

import eager
import fla.lang
from timing import alternate

DIM = 128
MATMUL = 2048


@dataclass(frozen=True)
class Rule:
    """A recurrence, its eager counterpart and its forward's work (FLOP a token and head at K = V = 128)."""

    name: str
    compiled: Callable
    eager: Callable
    flop: float
    arguments: tuple[str, ...]


def rules() -> list[Rule]:
    scaled = lambda op: lambda *x: op(*x, scale=DIM**-0.5)[0]
    delta, gla = fla.lang.load("gated_delta_rule"), fla.lang.load("simple_gla")
    return [Rule("gated delta rule", scaled(delta), eager.gated_delta_rule, 167e3, ("q", "k", "v", "g", "beta")),
            Rule("simple GLA", scaled(lambda q, k, v, g, scale: gla(q=q, k=k, v=v, g=g, scale=scale)),
                 eager.simple_gla, 98e3, ("q", "k", "v", "g"))]


def inputs(rule: Rule, tokens: int, heads: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(1, tokens, heads, *shape, generator=generator)
    made = {"q": draw(DIM), "k": F.normalize(draw(DIM), dim=-1), "v": draw(DIM),
            "g": F.logsigmoid(draw() + 3), "beta": torch.sigmoid(draw())}
    return [made[name].requires_grad_() for name in rule.arguments]


def forward(function, x):
    with torch.no_grad():
        return function(*x)


def both(function, x):
    return torch.autograd.grad(function(*x).square().mean(), x)


def difference(a, b) -> float:
    return ((a - b).norm() / b.norm()).item()


def agree(rule: Rule, x, limit: float = 1e-4) -> None:
    """Raises AssertionError unless results and gradients agree."""
    errors = {"output": difference(forward(rule.compiled, x), forward(rule.eager, x))}
    gradients = zip(rule.arguments, both(rule.compiled, x), both(rule.eager, x))
    errors.update({f"d{name}": difference(a, b) for name, a, b in gradients})
    assert max(errors.values()) < limit, f"{rule.name}: expected differences below {limit}, got {errors}"


def measure(rule: Rule, tokens: int, heads: int, rounds: int) -> dict[str, float]:
    """Median seconds of each contestant of one alternating run."""
    x = inputs(rule, tokens, heads)
    agree(rule, x)
    a, b = torch.randn(2, MATMUL, MATMUL).unbind(0)
    return alternate({"product": lambda: torch.mm(a, b),
                      "compiled forward": lambda: forward(rule.compiled, x),
                      "eager forward": lambda: forward(rule.eager, x),
                      "compiled both": lambda: both(rule.compiled, x),
                      "eager both": lambda: both(rule.eager, x)}, rounds)


def report(rule: Rule, seconds: dict[str, float], tokens: int, heads: int) -> list[str]:
    peak = 2 * MATMUL**3 / seconds["product"]
    reached = rule.flop * tokens * heads / seconds["compiled forward"] / peak
    lines = [f"{rule.name}, B1 T{tokens} H{heads} K=V={DIM} fp32 (matmul {peak / 1e9:.0f} GFLOP/s)"]
    for key, name in (("forward", "forward"), ("both", "forward + backward")):
        ours, theirs = seconds[f"compiled {key}"], seconds[f"eager {key}"]
        rate = f", {reached:.0%} of the matmul rate" if key == "forward" else ""
        lines.append(f"  {name:<19} compiled {ours * 1e3:7.1f} ms   eager {theirs * 1e3:8.1f} ms   "
                     f"{theirs / ours:5.1f} times faster{rate}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {arguments.rounds} rounds")
    for rule in rules():
        seconds = measure(rule, arguments.tokens, arguments.heads, arguments.rounds)
        print("\n".join(report(rule, seconds, arguments.tokens, arguments.heads)), flush=True)


if __name__ == "__main__":
    main()
