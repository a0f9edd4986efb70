"""The package `fla` on one GPU: models, transformers' Qwen3-Next, torch.compile, in under 5 minutes.

    python benchmarks/gpu_package.py [--json FILE] [--name gla ...] [--only import model ...]

import: no CUDA context after `import fla`. qwen3_next: transformers' own model takes our
operators by itself, computes and generates what its PyTorch reference does. compile:
torch.compile(fullgraph=True) of models, forward and backward. model: each model's fp32
results beside those of the CPU, its bf16 results beside fp32, decoding beside the full
forward, and generate(). time: what is faster by how much, with the machine left alone.

Every item is a task in a process of its own kind (as many at once as processors): one
that fails is reported and stops no other. Needs a GPU and the installed package, torch
and transformers. The table comes last; the status is 0 where every line is within its limit.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import torch
from gpu import as_json, at_once, environment, progress, quiet
from models import configuration, kinds, make, wake
from timing import fastest
from workers import run_tasks

RESULTS = Path(__file__).resolve().parent / "results"
GROUPS = ("import", "qwen3_next", "compile", "model", "time")
STEPS = ("gradients", "bf16", "decode", "generate")
# BitNet rounds activations to 8 bits: a last-bit difference may move one to the next step.
ROUNDS = ("bitnet",)


@dataclass(frozen=True)
class Item:
    """One task: `step` of `name` in a group, on models of this size with batches [2, tokens]."""

    group: str
    name: str
    step: str
    device: str
    hidden: int = 256
    heads: int = 4
    layers: int = 2
    tokens: int = 200

    def model(self, dtype=torch.float32, device: str | None = None):
        config = configuration(self.name, self.hidden, self.heads, self.layers, vocab_size=1000)
        return make(config).to(device or self.device, dtype).eval()

    def ids(self, device: str | None = None, tokens: int = 0, batch: int = 2) -> torch.Tensor:
        """Tokens [batch, tokens] without the padding token and the ends."""
        drawn = torch.randint(3, 1000, (batch, tokens or self.tokens), generator=torch.Generator().manual_seed(1))
        return drawn.to(device or self.device)


# A result is {what was measured: (value, limit or None)}.
def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a - b| / |b| in float64 on the CPU."""
    a, b = a.detach().cpu().double(), b.detach().cpu().double()
    return ((a - b).norm() / b.norm()).item()


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference; infinite where something is not finite."""
    value = (a.detach().cpu().double() - b.detach().cpu().double()).abs().max().item()
    return value if math.isfinite(value) else math.inf


def trained(model, ids) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(logits, loss, all gradients in one vector) of a step that predicts the next token."""
    model.zero_grad()
    out = model(ids, labels=ids, use_cache=False)
    out.loss.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    if missing:
        raise RuntimeError(f"expected gradients of all parameters, got none for {', '.join(missing)}")
    return out.logits, out.loss, torch.cat([p.grad.flatten().cpu().double() for p in model.parameters()])


def cache_of(out):
    """The cache of an output, whatever this release of transformers calls it."""
    return out.cache if "cache" in out.keys() else out.past_key_values


# Every model.
def gradients(item: Item) -> dict:
    """fp32 forward and backward beside the same on the CPU."""
    got = trained(item.model(), item.ids())
    want = trained(item.model(device="cpu"), item.ids("cpu"))
    rounds = item.name in ROUNDS
    return {"logits - CPU's": (largest(got[0], want[0]), 5e-3 if rounds else 1e-4),
            "gradients, relative": (relative(got[2], want[2]), 5e-2 if rounds else 1e-3)}


def bf16(item: Item) -> dict:
    """bf16 forward and backward beside fp32."""
    want = trained(item.model(), item.ids())
    got = trained(item.model(torch.bfloat16), item.ids())
    return {"loss - fp32's": (largest(got[1], want[1]), 5e-2), "bf16 logits, relative": (relative(got[0], want[0]), 1e-1),
            "bf16 gradients, relative": (relative(got[2], want[2]), 3e-1)}


@torch.no_grad()
def decode(item: Item) -> dict:
    """A prefill and 8 tokens one by one beside the full forward, in fp32."""
    model, ids = item.model(), item.ids()
    out = model(ids[:, :-8], use_cache=True)
    logits = [out.logits]
    for i in range(ids.shape[1] - 8, ids.shape[1]):
        out = model(ids[:, i:i + 1], past_key_values=cache_of(out), use_cache=True)
        logits.append(out.logits)
    return {"decoding - full": (largest(torch.cat(logits, 1), model(ids, use_cache=False).logits), 5e-3 if item.name in ROUNDS else 1e-4)}


OPTIONS = dict(max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)


@torch.no_grad()
def generate(item: Item) -> dict:
    """Greedy tokens beside those that the full forward of the result picks; a tie of 1e-3 may go either way."""
    model, ids = item.model(), item.ids(tokens=20)
    tokens = model.generate(ids, attention_mask=torch.ones_like(ids), **OPTIONS)
    if tuple(tokens.shape) != (2, 28):
        raise RuntimeError(f"expected tokens of shape (2, 28), got {tuple(tokens.shape)}")
    logits = model(tokens, use_cache=False).logits[:, 19:-1]
    chosen = logits.gather(-1, tokens[:, 20:, None])[..., 0]
    return {"generate(): below the best logit": ((logits.max(-1).values - chosen).max().item(), 5e-2 if item.name in ROUNDS else 1e-3)}


# torch.compile.
def compiled(model):
    """The model as one graph. One compiling process a task: the tasks fill the processors."""
    import torch._inductor.config as inductor
    inductor.compile_threads = 1
    return torch.compile(model, fullgraph=True)


def compile_forward(item: Item) -> dict:
    model, ids = item.model(), item.ids()
    with torch.no_grad():
        return {"compiled logits - eager": (largest(compiled(model)(ids, use_cache=False).logits, model(ids, use_cache=False).logits), 1e-4)}


def compile_training(item: Item) -> dict:
    model, ids = item.model().train(), item.ids()
    want = trained(model, ids)
    model.zero_grad()
    out = compiled(model)(ids, labels=ids, use_cache=False)
    out.loss.backward()
    got = torch.cat([p.grad.flatten().cpu().double() for p in model.parameters()])
    return {"compiled loss - eager": (largest(out.loss, want[1]), 1e-4), "compiled gradients, relative": (relative(got, want[2]), 1e-3)}


# transformers' Qwen3-Next.
CALLS: Counter = Counter()


def count_calls() -> None:
    """Counts calls of the functions that transformers takes, which it does when its module is loaded."""
    import fla.ops.gated_delta_rule as operators

    def counted(function):
        @wraps(function)
        def call(*args, **kwargs):
            CALLS[function.__name__] += 1
            return function(*args, **kwargs)
        return call

    if not hasattr(operators.chunk_gated_delta_rule, "__wrapped__"):
        for name in ("chunk_gated_delta_rule", "fused_recurrent_gated_delta_rule"):
            setattr(operators, name, counted(getattr(operators, name)))


def qwen3_next(item: Item):
    count_calls()
    from transformers import AutoConfig, AutoModelForCausalLM
    width = item.hidden // item.heads
    sizes = dict(hidden_size=item.hidden, num_hidden_layers=4, vocab_size=1000, intermediate_size=item.hidden, head_dim=width,
                 num_attention_heads=item.heads, num_key_value_heads=2, linear_num_value_heads=2 * item.heads, linear_num_key_heads=item.heads,
                 linear_key_head_dim=width, linear_value_head_dim=width, num_experts=4, num_experts_per_tok=2,
                 moe_intermediate_size=64, shared_expert_intermediate_size=64)
    torch.manual_seed(0)
    return wake(AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3_next", **sizes))).to(item.device).eval()


def take_reference(model) -> None:
    """Puts transformers' own functions in the place of ours, in layers (4.57) or in their module (5.x)."""
    module = sys.modules[type(model).__module__]
    for name in ("chunk_gated_delta_rule", "recurrent_gated_delta_rule"):
        function = getattr(module, f"torch_{name}")
        reference = getattr(function, "__wrapped__", function)
        setattr(module, f"torch_{name}", reference)
        for layer in model.modules():
            if name in layer.__dict__:
                setattr(layer, name, reference)


@torch.no_grad()
def qwen3_next_is_the_same(item: Item) -> dict:
    model, ids = qwen3_next(item), item.ids()
    CALLS.clear()
    got, tokens = model(ids).logits, model.generate(ids[:, :20], **OPTIONS)
    calls = dict(CALLS)
    if item.device == "cpu" and not calls:  # until 5.16 transformers asks for CUDA
        import fla
        run = fla.accelerate(model)
        got, tokens = model(ids).logits, model.generate(ids[:, :20], **OPTIONS)
        calls = dict(run.calls)
        run.restore()
    take_reference(model)
    want, expected = model(ids).logits, model.generate(ids[:, :20], **OPTIONS)
    # Three of four layers: two prefills, and seven steps.
    counts = {name: (calls.get(name, 0), n) for name, n in (("chunk_gated_delta_rule", 6), ("fused_recurrent_gated_delta_rule", 21))}
    return {"logits - reference's": (largest(got, want), 1e-4), "tokens that differ": ((tokens != expected).sum().item(), 0),
            **{f"calls of {name}, missing": (max(0, n - had), 0) for name, (had, n) in counts.items()},
            "calls of our operators": (sum(calls.values()), None)}


# Times.
@torch.no_grad()
def qwen3_next_prefill(item: Item) -> dict:
    """Prefills [1, 20 x tokens] on our operators and on the reference."""
    model, ids = qwen3_next(item), item.ids(tokens=20 * item.tokens, batch=1)
    CALLS.clear()
    ours = fastest(lambda: model(ids, use_cache=False), item.device)
    if not CALLS:
        raise RuntimeError("expected transformers to take our operators, it took its own")
    take_reference(model)
    theirs = fastest(lambda: model(ids, use_cache=False), item.device)
    return {f"prefill of {ids.shape[1]} tokens, ms": (1e3 * ours, None), "by the reference, ms": (1e3 * theirs, None),
            "speed ratio": (theirs / ours, None)}


@torch.no_grad()
def compiled_speed(item: Item) -> dict:
    """Forwards in bf16, eager and compiled."""
    model, ids = item.model(torch.bfloat16), item.ids(tokens=10 * item.tokens)
    fast = compiled(model)
    eager, graph = (fastest(lambda f=f: f(ids, use_cache=False), item.device) for f in (model, fast))
    return {"bf16 forward, ms": (1e3 * eager, None), "compiled, ms": (1e3 * graph, None), "speed ratio": (eager / graph, None)}


# Importing.
IMPORTED = """
import ctypes, json, sys, time
begin = time.perf_counter(); import fla; seconds = time.perf_counter() - begin
loaded = [name for name in ("torch", "transformers") if name in sys.modules]
def active():
    try: cuda = ctypes.CDLL("libcuda.so.1")
    except OSError: return 0
    flags, state = ctypes.c_uint(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(state)): return 0
    return state.value
after_import = active()
import fla.ops, fla.modules, fla.layers
import torch
print(json.dumps([seconds, loaded, after_import, active(), torch.cuda.is_initialized()]))
"""


def imported(item: Item) -> dict:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    took, loaded, after_import, after_parts, initialised = json.loads(done.stdout)
    return {"import fla, seconds": (took, 1.5), "torch and transformers loaded by it": (len(loaded), 0), "CUDA contexts after it": (after_import, 0),
            "after fla.ops, modules and layers": (after_parts + initialised, 0)}


CHECKS = {"gradients": gradients, "bf16": bf16, "decode": decode, "generate": generate, "forward": compile_forward, "training": compile_training,
          "same": qwen3_next_is_the_same, "prefill": qwen3_next_prefill, "speed": compiled_speed, "contexts": imported}


def check(item: Item) -> dict:
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False  # convolutions; products have it off
    begin = time.monotonic()
    measured = CHECKS[item.step](item)
    return {"seconds": round(time.monotonic() - begin, 2), "measured": measured}


def items(given) -> tuple[list[Item], list[Item]]:
    """(those of many processes, long ones first; those that want the machine for themselves)."""
    make_item = lambda group, name, step: Item(group, name, step, given.device, given.hidden, given.heads, given.layers, given.tokens)  # noqa: E731
    many = [make_item("compile", name, step) for step in ("training", "forward") for name in given.compiled]
    many += [make_item("qwen3_next", "qwen3_next", "same"), make_item("import", "fla", "contexts")]
    many += [make_item("model", name, step) for step in STEPS for name in given.name]
    alone = [make_item("time", "qwen3_next", "prefill"), *(make_item("time", name, "speed") for name in given.compiled)]
    return [i for i in many if i.group in given.only], [i for i in alone if i.group in given.only]


def rows_of(done: list, left: list) -> list[dict]:
    """A row a measurement, and one for each task without."""
    rows = []
    for item, result, problem in done:
        row = {"group": item.group, "name": item.name, "step": item.step}
        rows += [] if result is None else [{**row, "what": what, "value": value, "limit": limit, "seconds": result["seconds"]}
                                           for what, (value, limit) in result["measured"].items()]
        if result is None:
            rows.append({**row, "problem": problem or "no result"})
    return rows + [{"group": i.group, "name": i.name, "step": i.step, "problem": "left out for lack of time"} for i in left]


def is_right(row: dict) -> bool:
    return "problem" not in row and (row["limit"] is None or row["value"] <= row["limit"])


def lines_of(rows: list[dict]) -> list[str]:
    """The table: models in a line each, then the other measurements; what is wrong is marked by !."""
    models = [r for r in rows if r["group"] == "model"]
    columns = list(dict.fromkeys(r["what"] for r in models if "what" in r))
    lines = [f"{'model':<20}" + "".join(f"{name:>34}" if len(name) > 26 else f"{name:>26}" for name in columns)] if models else []
    for name in dict.fromkeys(r["name"] for r in models):
        cells = {r["what"]: r for r in models if r["name"] == name and "what" in r}
        text = lambda c: f"{c['value']:.1e}{' ' if is_right(c) else '!'}" if c else "-"  # noqa: E731
        lines.append(f"{name:<20}" + "".join(f"{text(cells.get(c)):>{34 if len(c) > 26 else 26}}" for c in columns))
    if models:
        limits = {r["what"]: r["limit"] for r in models if "what" in r and r["name"] not in ROUNDS}
        lines += ["limits: " + ", ".join(f"{what} {limit:g}" for what, limit in limits.items()), ""]
    for r in rows:
        if r["group"] != "model" and "what" in r:
            limit = "" if r["limit"] is None else f"  (limit {r['limit']:g})"
            lines.append(f"{r['group']:<11} {r['name']:<16} {r['what']:<58} {r['value']:>10.4g}{' ' if is_right(r) else '!'}{limit}")
    wrong = [r for r in rows if not is_right(r)]
    for r in wrong:
        why = r.get("problem") or f"{r['what']}: {r['value']:.3g}, limit {r['limit']:g}"
        lines.append(f"FAIL {r['group']} {r['name']} {r['step']}: {why.strip()[:400]}")
    return [*lines, f"{len(rows)} results, {len(wrong)} wrong or without a value"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", nargs="+", default=None, help="models (default: all)")
    parser.add_argument("--compiled", nargs="*", default=["gla", "gated_deltanet"], help="models for torch.compile")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=285, help="of the whole run")
    parser.add_argument("--each", type=float, default=150, help="seconds of one task at most")
    parser.add_argument("--jobs", type=int, default=0, help="processes at once (default: as many as processors)")
    parser.add_argument("--device", default="cuda", help="cpu tries it where there is no GPU")
    parser.add_argument("--json", help="default: benchmarks/results/<device>-package.json")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("expected a GPU that PyTorch can use, got none (--device cpu tries it without)")
    given.name = given.name or kinds()
    return given


def main() -> None:
    begin, given = time.monotonic(), arguments()
    import transformers
    facts = {**environment(given.device), "transformers": transformers.__version__}
    slug = re.sub(r"[^a-z0-9]+", "-", facts["device"].lower()).strip("-")
    out = Path(given.json or RESULTS / f"{slug}-package.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    many, alone = items(given)
    end = begin + given.seconds
    done, left = run_tasks(check, many, end - (60 if alone else 0), each=given.each, jobs=given.jobs or at_once(given.device), prepare=quiet,
                           on_end=progress(len(many), "package"), forked=True)
    if alone:
        more, later = run_tasks(check, alone, end, each=given.each, jobs=1, forked=True)
        done, left = done + more, left + later
    rows = rows_of(done, left)
    facts.update(seconds=round(time.monotonic() - begin, 1), arguments={k: v for k, v in vars(given).items() if k != "json"}, rows=rows)
    out.write_text(as_json(facts) + "\n")
    print(f"{facts['device']}, driver {facts['driver'] or '-'}, torch {facts['torch']}, transformers {facts['transformers']}, fla {facts['fla']}; "
          f"{facts['seconds']:.0f} s; {out}")
    print("\n".join(lines_of(rows)))
    sys.exit(0 if all(map(is_right, rows)) else 1)


if __name__ == "__main__":
    main()
