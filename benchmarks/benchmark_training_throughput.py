"""Tokens a second that a model trains on, with random weights and random tokens.

    python -m benchmarks.benchmark_training_throughput --name gla --batch_size 4 --seq_len 4096

On a GPU in bf16 with the sizes of the model's configuration, on a CPU in fp32 and small,
unless sizes are given. --varlen packs sequences of random lengths into one row, cut to
--context_len where that is given.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the folder of benchmarks, however this file is run

from models import add_sizes, chosen_model  # noqa: E402
from timing import finish  # noqa: E402

DEFAULTS = {"cuda": dict(batch_size=4, seq_len=4096, warmup_steps=64, steps=256),
            "cpu": dict(batch_size=1, seq_len=256, warmup_steps=2, steps=4)}


def size(count: float, unit: str = "B") -> str:
    """A count with a prefix: 1536 is 1.50KiB."""
    for prefix in ("", "Ki", "Mi", "Gi"):
        if abs(count) < 1024:
            return f"{count:.2f}{prefix}{unit}"
        count /= 1024
    return f"{count:.2f}Ti{unit}"


def offsets(total: int, context: int | None) -> torch.Tensor:
    """Offsets [N + 1] of 9 to 64 sequences of random lengths, none longer than `context`."""
    cuts = torch.randperm(total - 1)[:int(torch.randint(8, 64, ()))] + 1
    edges = [0, *sorted(cuts.tolist()), total]
    if context:
        edges = [start for a, b in zip(edges, edges[1:]) for start in range(a, b, context)] + [total]
    return torch.tensor(edges, dtype=torch.int32)


def batch(given, vocabulary: int) -> dict:
    """Arguments of the model: [batch_size, seq_len], or the same tokens in one row with cu_seqlens."""
    shape = (1, given.batch_size * given.seq_len) if given.varlen else (given.batch_size, given.seq_len)
    ids = torch.randint(vocabulary, shape, device=given.device)
    packed = {"cu_seqlens": offsets(shape[1], given.context_len).to(given.device)} if given.varlen else {}
    return {"input_ids": ids, "labels": ids, **packed}


def train(model, optimizer, scheduler, given, steps: int) -> tuple[float, float]:
    """(seconds, the last loss) of some steps."""
    loss = torch.tensor(float("nan"))
    finish(given.device)
    begin = time.perf_counter()
    for i in range(steps):
        loss = model(**batch(given, model.config.vocab_size)).loss
        loss.backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if (i + 1) % max(1, steps // 10) == 0:
            print(f"step {i + 1} of {steps}", file=sys.stderr, flush=True)
    finish(given.device)
    return time.perf_counter() - begin, loss.item()


def profiled(step, given) -> str:
    """Where the time of a few steps goes."""
    from torch.profiler import ProfilerActivity, profile
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if given.device == "cuda" else [])
    with profile(activities=kinds) as seen:
        step(4)
    return seen.key_averages().table(sort_by=f"{given.device}_time_total", row_limit=25)


def peak_memory(device: str) -> str:
    if device == "cuda":
        return size(torch.cuda.max_memory_allocated())
    import resource
    return size(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", help="a checkpoint, in place of --name")
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--seq_len", type=int)
    parser.add_argument("--context_len", type=int, help="the longest sequence with --varlen")
    parser.add_argument("--varlen", action="store_true")
    parser.add_argument("--warmup_steps", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--profile", action="store_true", help="print where a few more steps spend their time")
    add_sizes(parser, name="retnet")
    given = parser.parse_args()
    for name, value in DEFAULTS[given.device].items():
        setattr(given, name, value if getattr(given, name) is None else getattr(given, name))
    return given


def main() -> None:
    given = arguments()
    torch.manual_seed(0)
    model = chosen_model(given).train()
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{model.config}\n{model}\nNumber of parameters in total: {parameters} ({size(parameters, '')})")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=given.device == "cuda")
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1024)
    step = lambda steps: train(model, optimizer, scheduler, given, steps)  # noqa: E731
    first, _ = step(1)
    step(given.warmup_steps)
    seconds, loss = step(given.steps)
    tokens = given.steps * given.batch_size * given.seq_len
    print(f"first step: {first:.2f}s; loss {loss:.3f}")
    print(f"throughput: {tokens / seconds:.2f} tokens/s ({1e3 * seconds / given.steps:.2f} ms/step over {given.steps} steps, total {seconds:.2f}s)")
    print(f"peak memory: {peak_memory(given.device)}")
    if given.profile:
        print(profiled(step, given))


if __name__ == "__main__":
    main()
