"""Definitions called inside steps: Python ones, loaded ones, with other dimensions."""

import pytest
import torch

from fla.lang import DefinitionError, Param, Scalar, State, Vec, exp, l2norm, load, logsigmoid, outer, recurrence
from helpers import assert_close
from token_loop import token_loop


@recurrence
def delta(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], beta: Scalar, *, scale: float = 1.0):
    S = S + outer(k, beta * (v - S.T @ k))
    return S, scale * (S.T @ q)


def loop(op, tensors, sizes, **kwargs):
    tensors = {n: t.double() for n, t in tensors.items()}
    definition = op.definition(**kwargs)
    values = {a.name: a.attrs["default"] for a in definition.arguments if a.kind == "value"}
    return token_loop(definition, tensors, values, sizes)


def test_a_python_definition_is_traced_in_place():
    @recurrence
    def gated(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
        return delta(exp(g) * S, q, k, v, beta, scale=2.0)

    @recurrence
    def written(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
        S = exp(g) * S
        S = S + outer(k, beta * (v - S.T @ k))
        return S, 2.0 * (S.T @ q)

    assert gated.mlir().replace("@gated", "@written") == written.mlir()


def test_a_loaded_definition_is_copied_with_the_callers_dimensions():
    gated_delta = load("gated_delta_rule")

    @recurrence
    def normed(S: State["A", "B"], q: Vec["A"], k: Vec["A"], v: Vec["B"], logit: Scalar, beta: Scalar):
        return gated_delta(S, l2norm(q), l2norm(k), v, g=logsigmoid(logit), beta=beta, scale=0.5)

    text = normed.mlir()
    assert "#fla.dims<A, B>" in text and "dims<K" not in text
    assert "fla.assume" in text  # k is promised to be of unit length, g not to be positive
    r = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 9, 2, 4, generator=r)
    logit, beta = torch.randn(2, 1, 9, 2, generator=r)
    (got,), _ = loop(normed, dict(q=q, k=k, v=v, logit=logit, beta=beta), {"A": 4, "B": 4})
    norm = lambda x: x.double() * (x.double().pow(2).sum(-1, keepdim=True) + 1e-6).rsqrt()
    tensors = dict(q=norm(q), k=norm(k), v=v, g=torch.nn.functional.logsigmoid(logit.double()), beta=beta)
    definition = gated_delta.definition()
    (want,), _ = token_loop(definition, {n: t.double() for n, t in tensors.items()}, {"scale": 0.5}, {"K": 4, "V": 4})
    assert_close(got, want, 1e-12)


def test_optional_inputs_of_a_loaded_definition_may_be_left_out():
    gla = load("gla")

    @recurrence
    def plain(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"]):
        return gla(S, q, k, v)

    r = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 9, 2, 4, generator=r)
    (got,), _ = loop(plain, dict(q=q, k=k, v=v), {"K": 4, "V": 4})
    scores = torch.einsum("bthk,bshk->bhts", q.double(), k.double()).tril()
    assert_close(got, torch.einsum("bhts,bshv->bthv", scores, v.double()), 1e-12)


def test_definitions_with_several_states_compose():
    mamba3 = load("mamba3")

    @recurrence
    def rotated(S: State["2*R", "V"], a: State["R"], kp: State["2*R"], vp: State["V"], q: Vec["2*R"], k: Vec["2*R"],
                v: Vec["V"], g: Scalar, dt: Scalar, t: Scalar, w: Vec["R"], D: Param[()]):
        *states, o = mamba3(S, a, kp, vp, q, k, v, g, dt, t, w, D)
        return tuple(states), o

    assert rotated.mlir().count("fla.rotate") == 2 and rotated.mlir().count("fla.write") == 2


def test_two_recurrences_in_one_step():
    @recurrence
    def stacked(A: State["K", "V"], B: State["V", "M"], q: Vec["K"], k: Vec["K"], v: Vec["V"], m: Vec["M"], b: Scalar):
        A, u = delta(A, q, k, v, b)
        B, o = delta(B, v, u, m, b)
        return (A, B), o

    assert stacked.mlir().count("fla.write") == 2


def test_what_a_call_inside_a_step_gets_wrong():
    def step(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"]):
        return load("gla")(S, q, k)

    def unknown(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"]):
        return load("gla")(S, q, k, v, decay=v)

    def mixed(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"]):
        return load("gla")(S, q, v, k)

    with pytest.raises(DefinitionError, match="'gla' misses argument 'v'"):
        recurrence(step).mlir()
    with pytest.raises(DefinitionError, match="takes no argument 'decay'; expected S, q, k, v, gk, gv, scale"):
        recurrence(unknown).mlir()
    with pytest.raises(DefinitionError, match="dimensions are mixed: argument 'k' needs K = K"):
        recurrence(mixed).mlir()
