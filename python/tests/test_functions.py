"""Every function of the language against torch, in float64, through the token loop."""

import math

import pytest
import torch

import fla.lang as L
from fla.lang import Scalar, State, Vec, recurrence
from token_loop import token_loop

F = torch.nn.functional
D = 6

UNARY = {
    "exp": torch.exp, "exp2": torch.exp2, "expm1": torch.expm1, "sigmoid": torch.sigmoid, "silu": F.silu,
    "logsigmoid": F.logsigmoid, "softplus": F.softplus, "tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu,
    "sin": torch.sin, "cos": torch.cos, "abs": torch.abs,
}
POSITIVE = {"log": torch.log, "log2": torch.log2, "log1p": torch.log1p, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt}


def evaluate(function, *tensors, dims=None):
    """function on [T, D] vectors (or [T] scalars), through a step whose state is idle."""
    names = "xyzw"[:len(tensors)]
    kinds = {n: Vec["D"] if t.dim() == 2 else Scalar for n, t in zip(names, tensors)}
    scope = {"State": State, "function": function, "kinds": kinds, "Vec": Vec}
    parameters = ", ".join(f"{n}: kinds['{n}']" for n in names)
    exec(f"def step(h: State['D'], idle: Vec['D'], {parameters}):\n"
         f"    return h + idle, function({', '.join(names)})\n", scope)
    definition = recurrence(scope["step"]).definition()
    given = {n: t[None, :, None] for n, t in zip(names, tensors)}
    given["idle"] = torch.zeros(1, tensors[0].shape[0], 1, D, dtype=torch.float64)
    outputs, _ = token_loop(definition, given, {}, {"D": D, "R": D // 2, **(dims or {})})
    return outputs[0][0, :, 0]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", [*UNARY, *POSITIVE])
def test_elementwise(name):
    x = draw(5, D) if name in UNARY else draw(5, D).abs() + 0.1
    want = {**UNARY, **POSITIVE}[name]
    torch.testing.assert_close(evaluate(getattr(L, name), x), want(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(evaluate(getattr(L, name), x[:, 0]), want(x[:, 0]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [*UNARY, *POSITIVE])
def test_on_python_numbers(name):
    want = {**UNARY, **POSITIVE}[name]
    got = getattr(L, name)(0.7)
    assert isinstance(got, float) and math.isclose(got, float(want(torch.tensor(0.7, dtype=torch.float64))))


TWO = {
    "minimum": torch.minimum, "maximum": torch.maximum, "logaddexp": torch.logaddexp,
    "lambda x, y: where(x < y, x, 2 * y)": lambda x, y: torch.where(x < y, x, 2 * y),
    "lambda x, y: where((x < 0) | (y >= 0), x, y)": lambda x, y: torch.where((x < 0) | (y >= 0), x, y),
    "lambda x, y: where(~(x > y) & (x != 0), x, y)": lambda x, y: torch.where(~(x > y), x, y),
    "lambda x, y: x / (1 + y * y)": lambda x, y: x / (1 + y * y),
    "lambda x, y: clamp(x, -0.5, 0.5) - clamp(y, hi=0)": lambda x, y: x.clamp(-0.5, 0.5) - y.clamp(max=0),
    "lambda x, y: dot(x, y) * x": lambda x, y: (x * y).sum(-1, keepdim=True) * x,
    "lambda x, y: max(x, y) + max([x, y, 0 * x])": lambda x, y: torch.maximum(x, y) + torch.maximum(x, y).relu(),
    "lambda x, y: sum([x, y, 1.0])": lambda x, y: x + y + 1,
    "lambda x, y: abs(x) ** 0.5 + y ** 2 + (1 + y * y) ** -0.5 + 2 ** x + (1 + y * y) ** -1":
        lambda x, y: x.abs().sqrt() + y ** 2 + (1 + y * y).rsqrt() + 2 ** x + 1 / (1 + y * y),
    "lambda x, y: (1 + x * x) ** y + (y * y) ** 1.5": lambda x, y: (1 + x * x) ** y + (y * y) ** 1.5,
    "lambda x, y: -x + +y": lambda x, y: y - x,
    "lambda x, y: rmsnorm(x, y)": lambda x, y: x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * y,
}


@pytest.mark.parametrize("text", TWO)
def test_two_operands(text):
    function = getattr(L, text) if text.isidentifier() else eval(text, {n: getattr(L, n) for n in L.__all__})
    x, y = draw(5, D), draw(5, D, seed=1)
    torch.testing.assert_close(evaluate(function, x, y), TWO[text](x, y), rtol=1e-12, atol=1e-12)


def test_reductions():
    x = draw(5, D)
    for function, want in ((L.sum, x.sum(-1)), (L.mean, x.mean(-1)), (L.max, x.amax(-1)),
                           (lambda v: L.sum(v, "D"), x.sum(-1)), (L.softmax, x.softmax(-1)),
                           (L.l2norm, x * (x.pow(2).sum(-1, keepdim=True) + 1e-6).rsqrt()),
                           (L.rmsnorm, x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt())):
        torch.testing.assert_close(evaluate(function, x), want, rtol=1e-12, atol=1e-12)


def test_reductions_by_name_of_a_matrix():
    x, y = draw(5, D), draw(5, D, seed=1)
    matrix = x[:, :, None] * y[:, None, :]
    got = evaluate(lambda a, b: L.sum(L.outer(a, b), "D'"), x, y)
    torch.testing.assert_close(got, matrix.sum(2), rtol=1e-12, atol=1e-12)


def test_shapes():
    x, y = draw(5, D), draw(5, D, seed=1)
    got = evaluate(lambda a, b: L.concat(1.0, a, L.flatten(L.outer(a, b))), x, y)
    want = torch.cat([torch.ones(5, 1, dtype=torch.float64), x, (x[:, :, None] * y[:, None]).flatten(1)], 1)
    torch.testing.assert_close(got, want)


def test_rotation_turns_pairs():
    @recurrence
    def step(h: State["2*R"], x: Vec["2*R"], a: Vec["R"]):
        return h, L.rotate(x, a)

    x, a = draw(5, 6), draw(5, 3, seed=1)
    (got,), _ = token_loop(step.definition(), {"x": x[None, :, None], "a": a[None, :, None]}, {}, {"R": 3})
    z = torch.view_as_complex(x.reshape(5, 3, 2)) * torch.polar(torch.ones_like(a), a)
    torch.testing.assert_close(got[0, :, 0], torch.view_as_real(z).flatten(1))


def test_builtins_still_work_on_python_values():
    assert L.sum([1, 2]) == 3 and L.max(1, 2) == 2 and L.max([3, 4]) == 4 and L.abs(-2) == 2
    assert L.clamp(3.0, 0.0, 1.0) == 1.0 and L.where(True, 1, 2) == 1 and L.minimum(1, 2) == 1
    assert math.isclose(L.logaddexp(0.0, 0.0), math.log(2)) and L.assume(2.0, 0, 3) == 2.0
