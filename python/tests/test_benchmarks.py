"""The command lines of benchmarks, with tiny sizes."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZES = ["--num_hidden_layers", "1", "--num_heads", "2", "--head_dim", "16", "--vocab_size", "300", "--device", "cpu"]


def run(*command, cwd=ROOT) -> str:
    """What a command prints; no test reaches a network."""
    path = [str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs_transformers():
    pytest.importorskip("transformers", reason="transformers is not installed: benchmarks of models do not run")


@pytest.mark.parametrize("command", [["-m", "benchmarks.ops.benchmark_retention"], ["benchmark_retention.py"]])
def test_retention(command):
    cwd = ROOT if command[0] == "-m" else ROOT / "benchmarks" / "ops"
    sizes = ["--lengths", "32", "64", "--head_dim", "16", "--rounds", "1", "--device", "cpu"]
    title, names, *rows = run(*command, *sizes, cwd=cwd).splitlines()
    assert title == "Performance:"
    assert names.split() == ["T", "chunk_fwd", "parallel_fwd", "flash_fwd", "chunk_fwdbwd", "parallel_fwdbwd", "flash_fwdbwd"]
    assert [row.split()[1] for row in rows] == ["32.0", "64.0"]
    assert all(float(cell) > 0 for row in rows for cell in row.split()[1:])


def test_generation_with_random_weights():
    needs_transformers()
    out = run("-m", "benchmarks.benchmark_generation", "--name", "gla", "--prompt", "Hello", "--maxlen", "4", *SIZES)
    assert out.startswith("Prompt:\nHello\nGenerated:\nHello")
    assert "Prompt length: 5, generation length: 4" in out
    assert re.search(r"Total prompt processing \+ decoding time: \d+ms", out) and "tokens/s" in out


def test_generation_with_a_checkpoint(tmp_path):
    needs_transformers()
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import models
    models.make(models.configuration("retnet", 32, 2, 1, 300)).save_pretrained(tmp_path)
    out = run("-m", "benchmarks.benchmark_generation", "--path", str(tmp_path), "--length", "6", "--maxlen", "3", "--batch_size", "2",
              "--temperature", "0", "--no-cache", "--device", "cpu")
    assert "Prompt length: 6, generation length: 3" in out


@pytest.mark.parametrize("more", [[], ["--varlen", "--context_len", "8"]])
def test_training_throughput(more):
    needs_transformers()
    out = run("-m", "benchmarks.benchmark_training_throughput", "--name", "retnet", "--batch_size", "2", "--seq_len", "48",
              "--warmup_steps", "1", "--steps", "2", *SIZES, *more)
    assert "RetNetForCausalLM(" in out and re.search(r"Number of parameters in total: \d+", out)
    assert re.search(r"throughput: [\d.]+ tokens/s \([\d.]+ ms/step over 2 steps", out) and "peak memory: " in out


def test_packed_batches_have_no_sequence_longer_than_the_context():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import benchmark_training_throughput as throughput
    edges = throughput.offsets(500, 16).tolist()
    assert edges[0] == 0 and edges[-1] == 500 and all(0 < b - a <= 16 for a, b in zip(edges, edges[1:]))


@pytest.mark.parametrize("kind", ["mamba2", "samba", "rodimus", "hgrn2", "rwkv7"])
def test_models_of_any_size(kind):
    needs_transformers()
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import models
    config = models.make(models.configuration(kind, 64, 4, 2, 300)).config
    assert config.hidden_size == 64 and config.num_hidden_layers == 2
    with pytest.raises(ValueError, match="expected one of abc"):
        models.configuration("gpt2")


def test_a_package_that_is_wrong_is_told():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import gpu_package
    item = gpu_package.Item("model", "gla", "decode", "cpu")
    done = [(item, {"seconds": 1.0, "measured": {"decoding - full": (2e-4, 1e-4)}}, ""),
            (gpu_package.Item("import", "fla", "contexts", "cpu"), None, "RuntimeError: no such thing")]
    rows = gpu_package.rows_of(done, [gpu_package.Item("time", "gla", "speed", "cpu")])
    assert [gpu_package.is_right(r) for r in rows] == [False] * 3
    text = "\n".join(gpu_package.lines_of(rows))
    assert "2.0e-04!" in text and "FAIL import fla contexts: RuntimeError: no such thing" in text
    assert "FAIL time gla speed: left out for lack of time" in text and "3 results, 3 wrong" in text
