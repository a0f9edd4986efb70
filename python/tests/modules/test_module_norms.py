"""Norms: values against the textbook formula in float64, gradients by finite differences, dtypes, residual streams."""

import pytest
import torch
import torch.nn.functional as F

from fla.modules import (
    FusedLayerNormGated,
    FusedLayerNormSwishGateLinear,
    FusedRMSNormGated,
    FusedRMSNormSwishGateLinear,
    GroupNorm,
    GroupNormLinear,
    L2Norm,
    LayerNorm,
    LayerNormLinear,
    RMSNorm,
    RMSNormLinear,
)
from fla.modules.fused_norm_gate import layer_norm_gated, rms_norm_gated
from fla.modules.l2norm import l2norm, l2norm_bwd, l2norm_fwd
from fla.modules.layernorm import GroupNormRef, group_norm, group_norm_linear, layer_norm_ref, rms_norm_ref
from fla.modules.layernorm_gated import LayerNormGated, RMSNormGated, layernorm_fn
from fla.modules.layernorm_gated import rms_norm_ref as mamba_ref


def textbook(x, weight, bias, eps, rms, groups=1):
    """Entry by entry in Python floats, so that no code of PyTorch's is shared with what is tested."""
    rows = x.double().reshape(-1, x.shape[-1])
    out = torch.empty_like(rows)
    size = rows.shape[1] // groups
    for r, row in enumerate(rows.tolist()):
        for g in range(groups):
            part = row[g * size:(g + 1) * size]
            mean = 0.0 if rms else sum(part) / size
            var = sum((v - mean) ** 2 for v in part) / size
            for i, v in enumerate(part):
                d = g * size + i
                out[r, d] = (v - mean) / (var + eps) ** 0.5 * weight[d].item() + (0 if bias is None else bias[d].item())
    return out.reshape(x.shape)


@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("has_bias", [False, True])
def test_values_are_the_textbook_formula(rms, groups, has_bias):
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 20), torch.randn(20)
    bias = torch.randn(20) if has_bias else None
    y = group_norm(x, weight, bias, eps=1e-3, is_rms_norm=rms, num_groups=groups)
    torch.testing.assert_close(y.double(), textbook(x, weight, bias, 1e-3, rms, groups), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_by_finite_differences(rms, groups):
    torch.manual_seed(1)
    x, weight, bias, residual = (torch.randn(*s, dtype=torch.float64, requires_grad=True)
                                 for s in ((3, 6), (6,), (6,), (3, 6)))

    def norm(x, weight, bias, residual):
        return group_norm(x, weight, bias, residual, 1e-3, True, False, rms, groups)

    assert torch.autograd.gradcheck(norm, (x, weight, bias, residual))
    # The backward pass is made of differentiable operations of the inputs: second derivatives are right too.
    assert torch.autograd.gradgradcheck(lambda x, w, b: group_norm(x, w, b, None, 1e-3, False, False, rms, groups),
                                        (x, weight, bias))


@pytest.mark.parametrize("function", [layer_norm_gated, rms_norm_gated])
@pytest.mark.parametrize("activation", ["swish", "silu", "sigmoid"])
def test_gated_norms(function, activation):
    torch.manual_seed(2)
    x, g, weight, bias = (torch.randn(*s, dtype=torch.float64, requires_grad=True)
                          for s in ((2, 2, 5), (2, 2, 5), (5,), (5,)))
    rms = function is rms_norm_gated
    act = torch.sigmoid if activation == "sigmoid" else F.silu
    y = function(x, g, weight, bias, activation, eps=1e-3)
    torch.testing.assert_close(y, textbook(x.detach(), weight, bias, 1e-3, rms) * act(g))
    assert torch.autograd.gradcheck(lambda *t: function(*t, activation, eps=1e-3), (x, g, weight, bias))


@pytest.mark.parametrize("gate_first", [False, True])
@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("group_size", [None, 3])
def test_mamba_norms(gate_first, rms, group_size):
    torch.manual_seed(3)
    x, z = (torch.randn(4, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    groups = 1 if group_size is None else 2
    inside = (x * F.silu(z) if gate_first else x).detach()
    expected = textbook(inside, weight, None, 1e-3, rms, groups) * (1 if gate_first else F.silu(z))
    y = layernorm_fn(x, weight, None, z, 1e-3, group_size, not gate_first, rms)
    torch.testing.assert_close(y, expected)
    if rms:
        ref = mamba_ref(x, weight, None, z, 1e-3, group_size, not gate_first, upcast=False)
        torch.testing.assert_close(y, ref, atol=1e-6, rtol=1e-5)  # the reference has a float32 weight
    assert torch.autograd.gradcheck(lambda x, w, z: layernorm_fn(x, w, None, z, 1e-3, group_size, not gate_first, rms),
                                    (x, weight, z))


def test_mamba_modules_hold_the_listed_parameters():
    assert [n for n, _ in LayerNormGated(6).named_parameters()] == ["weight", "bias"]
    assert [n for n, _ in RMSNormGated(6).named_parameters()] == ["weight"]
    x = torch.randn(2, 6)
    assert torch.equal(RMSNormGated(6, group_size=3)(x), GroupNorm(2, 6, is_rms_norm=True)(x))
    torch.testing.assert_close(LayerNormGated(6)(x), F.layer_norm(x, (6,)))


@pytest.mark.parametrize("kind", ["layer", "rms", "group", "gated layer", "gated rms"])
def test_a_norm_before_a_linear_map_is_the_norm_and_the_map(kind):
    torch.manual_seed(4)
    x, g, w, b = (torch.randn(*s, requires_grad=True) for s in ((2, 3, 8), (2, 3, 8), (5, 8), (5,)))
    fused, alone, gate = {
        "layer": (LayerNormLinear(8, bias=True), LayerNorm(8, bias=True), ()),
        "rms": (RMSNormLinear(8, bias=True), RMSNorm(8, bias=True), ()),
        "group": (GroupNormLinear(2, 8, is_rms_norm=True), GroupNorm(2, 8, is_rms_norm=True), ()),
        "gated layer": (FusedLayerNormSwishGateLinear(8), FusedLayerNormGated(8), (g,)),
        "gated rms": (FusedRMSNormSwishGateLinear(8), FusedRMSNormGated(8), (g,)),
    }[kind]
    for p, q in zip(fused.parameters(), alone.parameters()):
        p.data.normal_()
        q.data.copy_(p.data)
    out = fused(x, *gate, w, b)
    ref = F.linear(alone(x, *gate), w, b)
    torch.testing.assert_close(out, ref)
    do = torch.randn_like(out)
    inputs = (x, w, b, *gate)
    for got, expected in zip(torch.autograd.grad(out, (*inputs, *fused.parameters()), do),
                             torch.autograd.grad(ref, (*inputs, *alone.parameters()), do)):
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)


def test_a_linear_map_after_a_norm_keeps_no_normalised_rows():
    """What the *Linear variants are for: of the activations only x is held for the backward pass."""
    held = []

    def hold(t):
        held.append(t.data_ptr())
        return t

    x, w = torch.randn(64, 32, requires_grad=True), torch.randn(8, 32, requires_grad=True)
    m = RMSNormLinear(32)
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda t: t):
        m(x, w, None)
    assert set(held) == {x.data_ptr(), m.weight.data_ptr(), w.data_ptr()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_inside(dtype):
    torch.manual_seed(5)
    x, weight = (torch.randn(16, 32) * 30).to(dtype), torch.randn(32)
    y = group_norm(x, weight, None, is_rms_norm=True)
    assert y.dtype == dtype
    assert torch.equal(y, group_norm(x.float(), weight, None, is_rms_norm=True).to(dtype))
    m = FusedRMSNormGated(32, dtype=dtype)
    x.requires_grad_()
    y = m(x, x.detach())
    y.sum().backward()
    assert y.dtype == x.grad.dtype == m.weight.grad.dtype == dtype


@pytest.mark.parametrize("x_dtype, residual_dtype, in_fp32, stream", [
    (torch.bfloat16, None, False, torch.bfloat16),
    (torch.bfloat16, None, True, torch.float32),
    (torch.bfloat16, torch.float32, False, torch.float32),
    (torch.bfloat16, torch.bfloat16, True, torch.bfloat16),
    (torch.float32, torch.float32, False, torch.float32),
])
def test_the_residual_stream(x_dtype, residual_dtype, in_fp32, stream):
    torch.manual_seed(6)
    x = torch.randn(4, 16).to(x_dtype)
    residual = None if residual_dtype is None else torch.randn(4, 16).to(residual_dtype)
    m = RMSNorm(16)
    y, out = m(x, residual, prenorm=True, residual_in_fp32=in_fp32)
    total = x.float() + (0 if residual is None else residual.float())
    assert (y.dtype, out.dtype) == (x_dtype, stream)
    assert torch.equal(out, total.to(stream))
    torch.testing.assert_close(y, m(total).to(x_dtype))
    assert torch.equal(m(x, residual), y)


def test_gradients_through_the_residual_stream():
    torch.manual_seed(7)
    x, residual = (torch.randn(3, 8, requires_grad=True) for _ in range(2))
    y, stream = LayerNorm(8)(x, residual, prenorm=True)
    ry, rstream = layer_norm_ref(x, torch.ones(8), None, residual, prenorm=True)
    dy, ds = torch.randn(3, 8), torch.randn(3, 8)
    for got, expected in zip(torch.autograd.grad((y, stream), (x, residual), (dy, ds)),
                             torch.autograd.grad((ry, rstream), (x, residual), (dy, ds))):
        torch.testing.assert_close(got, expected)


def test_references_agree_with_the_modules():
    torch.manual_seed(8)
    x, residual, weight, bias = torch.randn(4, 8), torch.randn(4, 8), torch.randn(8), torch.randn(8)
    torch.testing.assert_close(rms_norm_ref(x, weight, bias, residual, upcast=True),
                               group_norm(x, weight, bias, residual, is_rms_norm=True))
    ref, ours = GroupNormRef(2, 8, bias=True), GroupNorm(2, 8, bias=True)
    for a, b in zip(ref(x, residual, True), ours(x, residual, True)):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(GroupNormRef(2, 8, elementwise_affine=False)(x),
                               GroupNorm(2, 8, elementwise_affine=False)(x))


def test_empty_inputs_and_rows_of_zeros():
    for shape in ((0, 8), (2, 0, 8)):
        assert RMSNorm(8)(torch.randn(shape)).shape == shape
    x = torch.zeros(2, 8, requires_grad=True)
    y = LayerNorm(8)(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(2, 8)) and torch.isfinite(x.grad).all()
    assert torch.equal(l2norm(torch.zeros(2, 8)), torch.zeros(2, 8))


def test_autocast_decides_the_linear_maps_dtype():
    m, w = RMSNormLinear(8), torch.randn(4, 8, requires_grad=True)
    x = torch.randn(2, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = m(x, w, None)
    out.sum().backward()
    assert out.dtype == torch.bfloat16 and x.grad.dtype == w.grad.dtype == torch.float32
    torch.testing.assert_close(out.float(), m(x, w, None), atol=5e-2, rtol=5e-2)


def test_l2norm():
    torch.manual_seed(9)
    x = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(l2norm(x, 1e-3), x / (x.square().sum(-1, keepdim=True) + 1e-3).sqrt())
    assert torch.autograd.gradcheck(lambda x: l2norm(x, 1e-3), (x,))
    assert torch.autograd.gradgradcheck(lambda x: l2norm(x, 1e-3), (x,))
    assert L2Norm(output_dtype=torch.float32)(x.to(torch.bfloat16)).dtype == torch.float32


def test_l2norm_in_two_halves():
    """The launchers' signatures, which other packages call."""
    torch.manual_seed(10)
    x, dy = torch.randn(3, 6, requires_grad=True), torch.randn(3, 6)
    y, rstd = l2norm_fwd(x.detach())
    assert rstd.shape == (3,) and rstd.dtype == torch.float32
    torch.testing.assert_close(l2norm_bwd(y, rstd, dy), torch.autograd.grad(l2norm(x), x, dy)[0])


@pytest.mark.parametrize("call, message", [
    (lambda: GroupNorm(3, 8), "divisible by num_groups=3, got 8"),
    (lambda: RMSNorm(8)(torch.zeros(2, 6)), r"shape \(6,\), got \(8,\)"),
    (lambda: RMSNorm(8)(torch.zeros(2, 8), torch.zeros(3, 8)), r"residual of shape \(2, 8\), got \(3, 8\)"),
    (lambda: FusedRMSNormGated(8)(torch.zeros(2, 8), torch.zeros(3, 8)), r"gate of shape \(2, 8\), got \(3, 8\)"),
    (lambda: FusedRMSNormGated(8, activation="relu"), "swish, silu, sigmoid, got 'relu'"),
    (lambda: RMSNormGated(8, group_size=3)(torch.zeros(2, 8)), "multiple of group_size=3, got 8"),
])
def test_arguments_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
