"""Activations, gated units, the MLP and feature maps against their formulas, gradients by finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F

import fla.modules.activations as act
from fla.modules import GatedMLP
from fla.modules import feature_map as maps


def formula(name, x):
    s = 1 / (1 + torch.exp(-x))
    cubic = math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)
    return {"sigmoid": s, "logsigmoid": torch.log(s), "swish": x * s, "silu": x * s, "relu": x.clamp(min=0),
            "sqrelu": x.clamp(min=0) ** 2, "gelu": 0.5 * x * (1 + torch.tanh(cubic))}[name]


@pytest.mark.parametrize("name", ["sigmoid", "logsigmoid", "swish", "silu", "relu", "sqrelu", "gelu"])
def test_activations(name):
    torch.manual_seed(0)
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(act.ACT2FN[name](x), formula(name, x))
    assert torch.autograd.gradcheck(act.ACT2FN[name], (x,))
    half = (torch.randn(64) * 4).bfloat16()
    assert torch.equal(act.ACT2FN[name](half), act.ACT2FN[name](half.float()).bfloat16())


def test_logsigmoid_has_a_temperature_and_no_overflow():
    x = torch.tensor([-200.0, 0.0, 200.0])
    torch.testing.assert_close(act.logsigmoid(x, 2.0), torch.tensor([-100.0, -math.log(2) / 2, 0.0]))
    assert act.logsigmoid(x.bfloat16(), 3.0).dtype == torch.bfloat16


def test_gelu_with_a_bias():
    torch.manual_seed(1)
    y, bias = torch.randn(3, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    torch.testing.assert_close(act.ACT2FN["bias_gelu"](y, bias), formula("gelu", y + bias))
    assert torch.autograd.gradcheck(act.bias_gelu_impl, (y.requires_grad_(), bias.requires_grad_()))


def power_unit(x, power=3.0):
    grown = x.clamp(min=1e-30) ** (power / (x.clamp(min=0).sqrt() + 1))
    return torch.where(x > 0, grown, x) / (1 + torch.exp(-x))


UNITS = {"swiglu": (act.swiglu, act.swiglu_linear, lambda x: formula("swish", x)),
         "sigmoidglu": (act.sigmoidglu, act.sigmoidglu_linear, lambda x: formula("sigmoid", x)),
         "powglu": (act.powglu, act.powglu_linear, power_unit)}


@pytest.mark.parametrize("name", UNITS)
def test_gated_units(name):
    torch.manual_seed(2)
    unit, linear, gate = UNITS[name]
    x, y, w, b = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 4), (2, 3, 4), (5, 4), (5,)))
    torch.testing.assert_close(unit(x, y), gate(x) * y)
    torch.testing.assert_close(linear(x, y, w, b), F.linear(gate(x) * y, w, b))
    assert torch.autograd.gradcheck(unit, (x, y)) and torch.autograd.gradcheck(linear, (x, y, w, b))
    assert torch.autograd.gradgradcheck(unit, (x, y))
    assert linear(x, y, w, None).shape == (2, 3, 5)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3, 4\) and \(3, 4\)"):
        unit(x, y[0])


def test_the_power_unit_is_finite_around_zero():
    x = torch.tensor([-1e-30, 0.0, 1e-30, 1e-8], requires_grad=True)
    y = act.powglu(x, torch.ones(4))
    y.sum().backward()
    assert torch.isfinite(y).all() and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gated_units_in_half_precision_are_float32_inside(dtype):
    torch.manual_seed(3)
    x, y = torch.randn(64).to(dtype), torch.randn(64).to(dtype)
    assert torch.equal(act.swiglu(x, y), act.swiglu(x.float(), y.float()).to(dtype))
    got = act.swiglu_fwdbwd(x, y, y, use_weight=True)
    assert torch.equal(got[2], act.swiglu_fwd(x, y)) and got[0].dtype == dtype


def test_gated_units_keep_their_inputs_alone():
    held = []

    def hold(t):
        held.append(t.data_ptr())
        return t

    x, y, w = (torch.randn(*s, requires_grad=True) for s in ((8, 4), (8, 4), (3, 4)))
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda t: t):
        act.swiglu(x, y)
        act.swiglu_linear(x, y, w, None)
    assert set(held) == {t.data_ptr() for t in (x, y, w)}


@pytest.mark.parametrize("hidden_act", ["swish", "powlu"])
@pytest.mark.parametrize("fuse", [False, True])
def test_the_mlp(hidden_act, fuse):
    torch.manual_seed(4)
    m = GatedMLP(8, intermediate_size=12, hidden_act=hidden_act, fuse_swiglu=fuse)
    x = torch.randn(2, 3, 8)
    gate = formula("swish", m.gate_proj(x)) if hidden_act == "swish" else power_unit(m.gate_proj(x))
    torch.testing.assert_close(m(x, labels=None), m.down_proj(gate * m.up_proj(x)))


@pytest.mark.parametrize("hidden, ratio, size, expected", [(1024, None, None, 2816), (2048, 4, None, 5632),
                                                           (64, 4, None, 256), (64, None, 100, 100)])
def test_the_mlps_width(hidden, ratio, size, expected):
    with torch.device("meta"):
        m = GatedMLP(hidden, ratio, size)
    assert (m.intermediate_size, m.up_proj.weight.shape) == (expected, (expected, hidden))


def test_the_mlp_refuses_other_activations():
    with pytest.raises(ValueError, match="swish and powlu, got 'gelu'"):
        GatedMLP(8, hidden_act="gelu")


def outer(x, y, strict):
    """x_i y_j for i < j or i <= j in the order of rows, by two loops."""
    n = x.shape[-1]
    return torch.stack([x[..., i] * y[..., j] for i in range(n) for j in range(i + strict, n)], -1)


def test_outer_products():
    torch.manual_seed(5)
    x, y = (torch.randn(2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    torch.testing.assert_close(maps.flatten_diag_outer_product(x, y), outer(x, y, 0))
    mixed, squares = maps.flatten_diag_outer_product_off1(x, y)
    torch.testing.assert_close(mixed, outer(x, y, 1))
    torch.testing.assert_close(squares, x * y)
    assert torch.autograd.gradcheck(maps.flatten_diag_outer_product, (x, y))


def test_taylor_features_are_the_exponentials_series():
    torch.manual_seed(6)
    q, k = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    f = maps.TaylorFeatureMap(8)
    s = (q * k).sum(-1) / math.sqrt(8)
    torch.testing.assert_close((f(q) * f(k)).sum(-1), 1 + s + s * s / 2, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("gamma, beta, normalize", [(True, True, True), (True, False, True), (False, False, True),
                                                    (True, True, False), (True, False, False)])
def test_rebased_features_are_squares_of_inner_products(gamma, beta, normalize):
    torch.manual_seed(7)
    q, k = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    f = maps.RebasedFeatureMap(8, gamma, beta, normalize)
    for p in f.parameters():
        p.data.normal_()
    a, b = f(q, flatten=False), f(k, flatten=False)
    expected = F.layer_norm(q, (8,), f.gamma, f.beta) if normalize else q * f.gamma + (0 if f.beta is None else f.beta)
    torch.testing.assert_close(a, expected)
    torch.testing.assert_close((f(q) * f(k)).sum(-1), (a * b).sum(-1) ** 2 / 8, atol=1e-5, rtol=1e-3)
    with pytest.raises(RuntimeError, match="got neither"):
        maps.RebasedFeatureMap(8, False, True, False)(q)


def test_dpfp_features():
    torch.manual_seed(8)
    x = torch.randn(2, 3)
    r = torch.cat([x.clamp(min=0), -x.clamp(min=0)], -1)
    y = maps.DPFPFeatureMap(3, nu=2)(x)
    assert y.shape == (2, 12)
    for shift in (1, 2):
        for i in range(6):
            torch.testing.assert_close(y[:, (shift - 1) * 6 + i], r[:, i] * r[:, i - shift])


def test_the_other_feature_maps():
    torch.manual_seed(9)
    x = torch.randn(2, 5, 8)
    f = maps.HedgehogFeatureMap(8)
    y = f(x)
    torch.testing.assert_close(y, torch.cat([2 * x, -2 * x], -1).softmax(-1))
    f = maps.T2RFeatureMap(8, 6)
    torch.testing.assert_close(f(x), (x @ f.layer.weight.T).clamp(min=0))
    assert repr(f) == "T2RFeatureMap(head_dim=8, dot_dim=6, bias=False)"
    f = maps.HadamardFeatureMap(8)
    torch.testing.assert_close(f(x), f.layer1(x) * f.layer2(x))
    f = maps.LearnableOuterProductFeatureMap(8, 4)
    torch.testing.assert_close(f(x), outer(f.layer1(x), f.layer2(x), 0))
    for name, module in {"relu": maps.ReLUFeatureMap, "sqrelu": maps.SquaredReLUFeatureMap, "gelu": maps.GELUFeatureMap,
                         "swish": maps.SwishFeatureMap, "sigmoid": maps.SigmoidFeatureMap}.items():
        torch.testing.assert_close(module()(x), formula(name, x))


@pytest.mark.parametrize("degree, sketches", [(2, 1), (4, 1), (8, 2), (16, 3)])
def test_polynomial_sketches_are_non_negative(degree, sketches):
    torch.manual_seed(10)
    f = maps.LearnablePolySketchNonNegativeFeatureMap(8, 4, degree)
    assert len(f.sketches1) == len(f.sketches2) == sketches
    s = F.layer_norm(torch.randn(20, 8), (8,))
    for one, two in zip(f.sketches1, f.sketches2):
        s = one(s) * two(s) / math.sqrt(8)
    torch.manual_seed(10)
    f2 = maps.LearnablePolySketchNonNegativeFeatureMap(8, 4, degree)
    torch.testing.assert_close(f2(torch.randn(20, 8)), outer(s, s, 0), atol=1e-6, rtol=1e-4)
    with pytest.raises(ValueError, match="power of 2 and at least 2, got 6"):
        maps.LearnablePolySketchNonNegativeFeatureMap(8, degree=6)
