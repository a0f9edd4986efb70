"""What a call may cost: seconds to compile, memory to run."""

import json
import subprocess
import sys
import time

import pytest
import torch

import fla
from fla import _native
from fla.lang import load

OPTIONS = {"dims": {"K": 128, "V": 128}, "dtype": "f32", "form": "chunk", "states": "recompute"}


def compile_seconds(text, direction, clock):
    before, start = fla.compilations(), clock()
    _native.native().compile(text, json.dumps({**OPTIONS, "direction": direction}))
    return clock() - start, fla.compilations() - before


@pytest.mark.parametrize("stem", ["gated_delta_rule", "gla", "kda", "dplr_delta_rule", "gsa"])
def test_definition_to_kernel(stem, tmp_path, monkeypatch):
    """Cold within 1 s forward and 2 s backward, from the disk within 50 ms.

    Processor time where it computes, so that a busy machine does not decide.
    """
    monkeypatch.setenv("FLA_CACHE_DIR", str(tmp_path / "cache"))
    text = load(stem).definition().text
    for direction, limit in (("forward", 1.0), ("backward", 2.0)):
        cold, compiled = compile_seconds(text, direction, time.process_time)
        assert compiled == 1
        assert cold < limit, f"{direction}: {cold:.2f} s"
        warm, compiled = min(compile_seconds(text, direction, time.process_time) for _ in range(3))
        assert compiled == 0
        assert warm < 0.05, f"{direction} from the cache: {1000 * warm:.1f} ms"


GROWTH = """
import resource, sys, torch
from fla.lang import load
op, T = load("gated_delta_rule"), int(sys.argv[1])
H, K, V = 2, 64, 64
inputs = [torch.randn(1, T, H, n) for n in (K, K, V)] + [-torch.rand(1, T, H), torch.rand(1, T, H)]
op(*[x[:, :128] for x in inputs])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
o = op(*inputs)[0]
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), o.numel() * 4)
"""


def test_memory_grows_with_outputs_only():
    """A forward of T tokens takes its output and a workspace, no T x T buffer."""
    def grown(tokens):
        out = subprocess.run([sys.executable, "-c", GROWTH, str(tokens)], capture_output=True, text=True, check=True).stdout
        return [int(x) for x in out.split()]

    for tokens in (8192, 32768):
        grew, output = grown(tokens)
        assert grew < 1.5 * output + (16 << 20), f"T={tokens}: {grew >> 20} MiB for an output of {output >> 20} MiB"
