"""One sequence of one head on several threads: the grid cuts the columns of the state."""

import json
from dataclasses import replace

import pytest
import torch

from fla import _native
from fla.lang import Scalar, State, Vec, exp, l2norm, outer, recurrence, softmax
from fla.lang import operators, programs


@recurrence
def gated(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
    S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, S.T @ q


@recurrence
def between_norms(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
    """Sums over V before and after the state: a prologue and an epilogue of their own."""
    k, v = l2norm(k), l2norm(v)
    S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, softmax(S.T @ q) + v


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def run(op, inputs):
    leaves = [x.clone().requires_grad_() for x in inputs]
    o, final = op(*leaves, output_final_state=True)
    (o.sin().sum() + final.cos().sum()).backward()
    return [o.detach(), final.detach(), *(x.grad for x in leaves)]


@pytest.mark.parametrize("op", [gated, between_norms], ids=lambda op: op.name if hasattr(op, "name") else str(op))
@pytest.mark.parametrize("states", ["save", "recompute"])
def test_blocks_give_the_same_results(op, states, threads):
    import fla.knobs

    torch.manual_seed(0)
    T, K, V = 150, 16, 24
    draw = lambda *shape: torch.randn(1, T, 1, *shape, dtype=torch.float64)  # noqa: E731
    k = torch.nn.functional.normalize(draw(K), dim=-1)
    inputs = [draw(K), k, draw(V), -torch.rand(1, T, 1, dtype=torch.float64), torch.rand(1, T, 1, dtype=torch.float64)]
    with fla.knobs.override(states=states):
        threads(1)
        whole = run(op, inputs)
        for count in (2, 4):
            threads(count)
            for a, b in zip(whole, run(op, inputs)):
                assert (a - b).abs().max() <= 1e-12 * (1 + a.abs().max())


@recurrence
def normalized(S: State["K", "V"], z: State["K"], q: Vec["K"], k: Vec["K"], v: Vec["V"]):
    S = S + outer(k, v)
    z = z + k
    return S, z, S.T @ q


@recurrence
def weighted(S: State["K", "V"], A: State["K", "M"], k: Vec["K"], m: Vec["M"], v: Vec["V"]):
    S = S + outer(k, v)
    A = A + outer(k, m)
    return S, A, S.T @ k + (k @ (A @ m)) * v


def compiled_for_gpu(op):
    options = {"target": "hip:gfx942", "dims": {"K": 128, "V": 128, "M": 16}, "dtype": "bf16", "form": "chunk", "direction": "forward"}
    facts = json.loads(_native.native().compile(op.mlir(), json.dumps(options)).manifest)
    assert max(kernel["blocks"] for kernel in facts["kernels"]) > 1
    return facts


def alike(facts):
    return {a["name"]: a["alike"] for a in facts["args"] if a["role"] == "final_state"}


def test_a_state_that_blocks_hold_alike_is_marked():
    """A block that ends stores A, which others may still have to read."""
    assert alike(compiled_for_gpu(weighted)) == {"final_S": False, "final_A": True}


def test_what_goes_round_a_loop_of_its_own_is_not_alike():
    """The kernel before the blocks stores z, and no other reads it."""
    facts = compiled_for_gpu(normalized)
    assert [kernel["blocks"] for kernel in facts["kernels"] if kernel["name"].endswith("_early")] == [1]
    assert alike(facts) == {"final_S": False, "final_z": False}


@pytest.mark.parametrize("indices", [None, [1]], ids=["own", "pool"])
def test_such_a_state_is_updated_when_all_blocks_have_read_it(indices, monkeypatch):
    torch.manual_seed(0)
    draw = lambda *shape: torch.randn(1, 70, 1, *shape)  # noqa: E731
    q, k, v = draw(16), draw(16), draw(24)
    pool = [torch.randn(2, 1, 16, 24), torch.randn(2, 1, 16)]
    chosen = [s[1:] if indices else s[:1] for s in pool]
    o, (S, z) = normalized(q, k, v, initial_state=tuple(s.clone() for s in chosen), output_final_state=True, form="chunk")

    def run_as_if_blocks_were_several(program, launch, values, given, *rest):
        finals, initial = given["final_state"], given["initial_state"]
        assert finals["S"] is initial["S"] and finals["z"].data_ptr() != initial["z"].data_ptr()
        return programs.run_program(program, launch, values, given, *rest)

    def prepare(self, x, saving):
        program, *rest = whole(self, x, saving)
        args = tuple(replace(a, alike=a.name == "final_z") for a in program.args)
        return replace(program, args=args), *rest

    whole = operators.Operators.prepare
    monkeypatch.setattr(operators.Operators, "prepare", prepare)
    monkeypatch.setattr(operators, "run_program", run_as_if_blocks_were_several)
    given = dict(state_indices=torch.tensor(indices)) if indices else {}
    states = tuple(pool) if indices else tuple(chosen)
    out, finals = normalized(q, k, v, initial_state=states, inplace_final_state=True, form="chunk", **given)
    assert all(a is b for a, b in zip(finals, states))
    for got, want in [(out, o), (chosen[0], S), (chosen[1], z)]:
        torch.testing.assert_close(got, want)
