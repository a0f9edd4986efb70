"""The package itself: imports, other libraries in the process, missing pieces."""

import importlib.util
import os
import subprocess
import sys

import pytest

import fla


def python(code: str, **env) -> subprocess.CompletedProcess:
    root = os.path.dirname(os.path.dirname(fla.__file__))
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": path, **env})


STEP = """
from fla.lang import *
@recurrence
def step(S: State["K", "V"], k: Vec["K"], v: Vec["V"]):
    S = S + outer(k, v)
    return S, S.T @ k
"""


def test_import_needs_neither_torch_nor_transformers_nor_a_device():
    done = python("import sys, fla\nassert not {'torch', 'transformers', 'numpy'} & set(sys.modules), 'loaded'\n"
                  "print(fla.__version__)")
    assert done.stdout.strip() == fla.__version__ == "0.4.0", done.stderr


def test_import_takes_no_time_and_no_device():
    """Under 1.5 s without transformers, and no CUDA context, not even with the parts and torch loaded."""
    done = python("import sys, time\nsys.modules['transformers'] = None\nstart = time.perf_counter()\nimport fla\n"
                  "seconds = time.perf_counter() - start\nimport fla.ops, fla.modules, fla.layers\n"
                  "fla.ops.chunk_gla, fla.modules.RMSNorm, fla.layers.GatedLinearAttention\n"
                  "import torch\nprint(seconds, torch.cuda.is_initialized())")
    seconds, initialised = done.stdout.split()
    assert float(seconds) < 1.5 and initialised == "False", done.stderr


def test_the_text_of_a_definition_needs_no_torch():
    done = python("import sys\nsys.modules['torch'] = None\n" + STEP + "print(step.mlir())")
    assert "fla.recurrence @step" in done.stdout, done.stderr


@pytest.mark.parametrize("order", ["import torch; from fla._native import native; native()",
                                   "from fla._native import native; native(); import torch"])
def test_any_import_order(order):
    done = python(order + STEP + "import torch\nx = torch.ones(1, 40, 1, 4)\nprint(float(step(x, x)[0].sum()))")
    assert float(done.stdout) == 4 * 4 * 40 * 41 / 2, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("module", ["numba", "triton", "transformers"])
def test_beside_other_libraries(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    done = python(f"import {module}\n" + STEP + "import torch\nx = torch.ones(1, 40, 1, 4)\nprint(step(x, x)[0].shape)")
    assert "40" in done.stdout, done.stderr


def test_a_missing_compiler_is_named():
    done = python(STEP + "import torch\nx = torch.ones(1, 4, 1, 4)\nstep(x, x)", FLA_LIBRARY="/nowhere/libfla.so")
    assert "CompilerMissing" in done.stderr and "/nowhere" in done.stderr and "FLA_LIBRARY" in done.stderr


def test_nothing_else_reads_the_environment():
    folder = os.path.dirname(fla.__file__)
    readers = []
    for root, _, files in os.walk(folder):
        for name in files:
            if name.endswith(".py"):
                with open(os.path.join(root, name), encoding="utf-8") as f:
                    if "environ" in f.read():
                        readers.append(name)
    assert readers == ["knobs.py"]


def test_unknown_attributes():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fla.nothing
