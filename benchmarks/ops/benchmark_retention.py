"""Retention in chunks and in parallel, and softmax attention, over lengths: milliseconds, forward and with backward.

    python benchmarks/ops/benchmark_retention.py [--lengths 128 256 ...] [--batch_size 8] [--num_heads 32] [--head_dim 128]

On a GPU bf16, batches of 8 and lengths up to 16384; on a CPU fp32 and small sizes. `flash`
is PyTorch's scaled_dot_product_attention, which is FlashAttention on a GPU in bf16.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of benchmarks, however this file is run

from timing import fastest  # noqa: E402

from fla.ops.retention import chunk_retention, parallel_retention  # noqa: E402

DEFAULTS = {"cuda": dict(batch_size=8, num_heads=32, head_dim=128, lengths=[128 << i for i in range(8)]),
            "cpu": dict(batch_size=1, num_heads=2, head_dim=64, lengths=[128, 256, 512])}


def flash(q, k, v):
    """Attention with heads in the third place, as the operators have them."""
    return scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=True).transpose(1, 2)


OPERATORS = {"chunk": lambda *x: chunk_retention(*x)[0], "parallel": lambda *x: parallel_retention(*x)[0], "flash": flash}


def milliseconds(length: int, given: argparse.Namespace) -> dict[str, float]:
    """Times of every operator on tensors [batch_size, length, num_heads, head_dim]."""
    dtype = torch.bfloat16 if given.device == "cuda" else torch.float32
    shape = (given.batch_size, length, given.num_heads, given.head_dim)
    x = [torch.randn(shape, device=given.device, dtype=dtype, requires_grad=True) for _ in range(3)]
    do = torch.ones(shape, device=given.device, dtype=dtype)
    times = {}
    for name, operator in OPERATORS.items():
        with torch.no_grad():
            times[f"{name}_fwd"] = 1e3 * fastest(lambda f=operator: f(*x), given.device, given.rounds)
    for name, operator in OPERATORS.items():
        times[f"{name}_fwdbwd"] = 1e3 * fastest(lambda f=operator: torch.autograd.grad(f(*x), x, do), given.device, given.rounds)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+")
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--num_heads", type=int)
    parser.add_argument("--head_dim", type=int)
    parser.add_argument("--rounds", type=int, default=10, help="calls of which the fastest counts")
    parser.add_argument("--device", choices=list(DEFAULTS), default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    for name, value in DEFAULTS[given.device].items():
        setattr(given, name, getattr(given, name) or value)
    rows = []
    for i, length in enumerate(given.lengths):
        print(f"length {length}, {i + 1} of {len(given.lengths)}", file=sys.stderr, flush=True)
        rows.append({"T": float(length), **milliseconds(length, given)})
    print("Performance:")
    print(" " * 2 + "".join(f"{name:>{max(10, len(name) + 2)}}" for name in rows[0]))
    for i, row in enumerate(rows):
        cells = (f"{value:.1f}" if name == "T" else f"{value:.6f}" for name, value in row.items())
        print(f"{i:<2}" + "".join(f"{cell:>{max(10, len(name) + 2)}}" for cell, name in zip(cells, row)))


if __name__ == "__main__":
    main()
