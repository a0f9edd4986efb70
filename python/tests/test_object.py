"""What an operator shows and survives: IR, checks, repr, pickling, redefinition, notebooks."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch

from fla.lang import DefinitionError, Scalar, State, Vec, assume, available, exp, load, outer, recurrence, unit
from fla.lang.recurrence import Ladder
from helpers import assert_close, gated_delta_inputs


@recurrence
def gdr(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar, *, n: int = 1):
    """Gated delta rule."""
    for _ in range(n):
        S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, S.T @ q


PHASES = {"define": "fla.recurrence", "normalize": "fla.program", "chunk": "chunk.program",
          "differentiate": "chunk.program", "kernelize": "tile.kernel"}


@pytest.mark.parametrize("phase", PHASES)
def test_mlir_of_a_phase(phase):
    assert PHASES[phase] in gdr.mlir(phase=phase)
    assert PHASES[phase] in load("gla").mlir(phase=phase)


def test_mlir_with_sizes_and_unknown_phases():
    assert "16" in gdr.mlir(phase="kernelize", dims={"K": 16, "V": 16}, form="chunk")
    with pytest.raises(ValueError, match="phase: expected one of define, normalize.*got 'soon'"):
        gdr.mlir(phase="soon")
    with pytest.raises(TypeError, match="unknown static argument 'm'"):
        gdr.mlir(m=3)
    with pytest.raises(TypeError, match="'gq' is not an optional input"):
        gdr.mlir(present=("gq",))


def test_check_prints_the_ladder(capsys):
    @recurrence
    def contracted(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
        return gdr(S, q, unit(k), v, assume(g, hi=0), assume(beta, 0, 1))

    ladder = contracted.check(dims={"K": 16, "V": 16})
    printed = capsys.readouterr().out
    assert ladder and len(ladder) > 0 and all(row["pass"] for row in ladder)
    assert "phase" in printed and "tolerance" in printed and "pass" in printed


def test_a_failing_row_makes_a_false_ladder():
    row = {"phase": "chunk", "form": "chunk", "dtype": "f64", "case": "weak", "error": 1.0, "tolerance": 1e-10}
    assert not Ladder([{**row, "pass": False}]) and Ladder([{**row, "pass": True}])
    assert "FAIL" in str(Ladder([{**row, "pass": False}]))


def test_repr_shows_the_equation_and_the_class():
    text = repr(gdr)
    assert text.splitlines()[:4] == ["gdr(q, k, v, g, beta, n)", "  S₁ = exp(g) * S",
                                     "  S₂ = S₁ + outer(k, beta * (v - S₁.T @ k))", "  o = S₂.T @ q"]
    assert "class of S: matrix state, scalar gate" in text
    assert "exp(gk)" in repr(load("gla")) and "exp(gv)" in repr(load("gla"))
    assert repr(gdr.recurrent).endswith("form: recurrent")


def test_repr_of_what_cannot_be_traced():
    @recurrence
    def wrong(S: State["K", "V"], k: Vec["K"], v: Vec["V"]):
        return S + k * v, k

    assert "dimensions are mixed" in repr(wrong)


def test_the_step_stays_documented():
    assert gdr.__name__ == "gdr" and gdr.__doc__ == "Gated delta rule." and gdr.__module__ == __name__


def test_refusals_of_the_compiler_name_the_users_line():
    @recurrence
    def fed_back(S: State["K", "V"], k: Vec["K"], v: Vec["V"]):
        u = S.T @ k
        S = S + outer(k, v * u * u)
        return S, S.T @ k

    line = fed_back.step.__code__.co_firstlineno + 3
    with pytest.raises(DefinitionError, match=f"test_object.py:{line}:") as caught:
        fed_back.mlir(phase="normalize")
    assert "error" in str(caught.value)
    q = torch.randn(1, 40, 1, 4)
    with pytest.raises(DefinitionError, match=f"test_object.py:{line}:"):
        fed_back(q, q)


def test_pickling_by_name():
    assert pickle.loads(pickle.dumps(gdr)) is gdr
    assert pickle.loads(pickle.dumps(load("gla"))) is load("gla")
    assert copy.deepcopy(gdr) is gdr and copy.copy(gdr) is gdr
    form = pickle.loads(pickle.dumps(gdr.chunk))
    assert form.op is gdr and form.form == "chunk"


def test_pickling_what_cannot_be_imported():
    @recurrence
    def local(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], *, n: int = 1):
        for _ in range(n):
            S = S + outer(k, v)
        return S, S.T @ q

    twin = pickle.loads(pickle.dumps(local))
    q, k, v, *_ = gated_delta_inputs()
    assert torch.equal(twin(q, k, v)[0], local(q, k, v)[0]) and twin.mlir() == local.mlir()
    with pytest.raises(DefinitionError, match="pickled without its step"):
        twin(q, k, v, n=2)


def test_pickled_modules_and_other_processes():
    code = ("import pickle, sys, torch\nop = pickle.loads(sys.stdin.buffer.read())\n"
            "q = torch.ones(1, 40, 1, 4)\nprint(float(op(q, q, q)[0][0, -1, 0, 0]))")

    @recurrence
    def local(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"]):
        S = S + outer(k, v)
        return S, S.T @ q

    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(local), capture_output=True,
                          env=environment(), check=True)
    assert float(done.stdout) == 160.0


def environment():
    import os

    import fla
    root = os.path.dirname(os.path.dirname(fla.__file__))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


NOTEBOOK = """
from fla.lang import *
@recurrence
def step(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"]):
    S = S + FACTOR * outer(k, v)
    return S, S.T @ q
"""


def test_notebook_cells_run_twice_and_redefine_steps():
    """Source text is not at hand and names come again with another meaning."""
    q, k, v, *_ = gated_delta_inputs()
    outputs, ops = [], []
    for factor in ("1.0", "1.0", "3.0"):
        scope = {"__name__": "__main__"}
        exec(compile(NOTEBOOK.replace("FACTOR", factor), "<cell>", "exec"), scope)
        ops.append(scope["step"])
        outputs.append(scope["step"](q, k, v)[0])
    assert torch.equal(outputs[0], outputs[1])
    assert_close(outputs[2], 3 * outputs[0], 1e-6)
    assert torch.equal(ops[0](q, k, v)[0], outputs[0])


def test_errors_without_source_text():
    scope = {}
    exec(compile(NOTEBOOK.replace("FACTOR * outer(k, v)", "k * v"), "<cell 3>", "exec"), scope)
    with pytest.raises(DefinitionError, match="^<cell 3>:5"):
        scope["step"].mlir()


def test_postponed_annotations_see_local_names():
    source = ("from __future__ import annotations\nfrom fla.lang import *\n"
              "def make():\n    A, B = dims('A', 'B')\n    @recurrence\n"
              "    def step(S: State[A, B], k: Vec[A], v: Vec[B] | None = None, *, n: int = 1, f: float = 2.0):\n"
              "        return S + outer(k, v if v is not None else f * (S.T @ k)), S.T @ k\n    return step\n")
    scope = {}
    exec(compile(source, "<postponed>", "exec"), scope)
    assert "#fla.dims<A, B>" in scope["make"]().mlir(present=("v",))


def test_typing_optional():
    from typing import Literal, Optional

    @recurrence
    def step(S: State["K", "V"], k: Vec["K"], v: Vec["V"], g: Optional[Scalar] = None, *,
             mode: Literal["a", "b"] = "a", gain: Optional[float] = None):
        S = S if g is None else exp(g) * S
        y = v if gain is None else gain * v
        return S + outer(k, y if mode == "a" else -y), S.T @ k

    assert "%g" not in step.mlir() and "%g" in step.mlir(present=("g",))
    assert "arith.negf" in step.mlir(mode="b") and "%gain" in step.mlir(present=("gain",))


def test_loading():
    assert {"gated_delta_rule", "gla", "gsa", "kda", "mamba", "rwkv7"} <= set(available())
    assert load("gla") is load("gla")
    op = load("gated_delta_rule")
    assert [p.name for p in op.parameters if p.role == "token"] == ["q", "k", "v", "g", "beta"]
    with pytest.raises(ValueError, match="expected one of .*got 'gated_delta'; did you mean gated_delta_rule"):
        load("gated_delta")


def test_loading_a_file(tmp_path):
    path = tmp_path / "mine.mlir"
    path.write_text(load("gla")._definition.text)
    q, k, v, *_ = gated_delta_inputs()
    assert torch.equal(load(str(path))(q, k, v)[0], load("gla")(q, k, v)[0])
    (tmp_path / "empty.mlir").write_text("module {}")
    with pytest.raises(ValueError, match="expected an fla.recurrence in .*empty.mlir"):
        load(str(tmp_path / "empty.mlir"))


def test_renaming_changes_nothing_but_names():
    @recurrence
    def other(State_: State["A", "B"], query: Vec["A"], key: Vec["A"], value: Vec["B"], gate: Scalar, b: Scalar):
        State_ = exp(gate) * State_
        State_ = State_ + outer(key, b * (value - State_.T @ key))
        return State_, State_.T @ query

    args = gated_delta_inputs()
    assert torch.equal(other(*args)[0], gdr(*args)[0])


def test_moving_a_gate_across_a_read_changes_the_result():
    @recurrence
    def late(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
        u = S.T @ k
        S = exp(g) * S
        S = S + outer(k, beta * (v - u))
        return S, S.T @ q

    from helpers import compare
    args = gated_delta_inputs()
    assert not torch.allclose(late(*args)[0], gdr(*args)[0])
    compare(late, args)
