"""What others import, load and print; every module under torch.compile without a graph break."""

import importlib
import inspect
import subprocess
import sys

import pytest
import torch

import fla.modules as modules
from fla.modules import (
    BitLinear,
    FusedBitLinear,
    FusedCrossEntropyLoss,
    FusedKLDivLoss,
    FusedLinearCrossEntropyLoss,
    FusedRMSNormGated,
    GatedMLP,
    GroupNorm,
    LayerNorm,
    LongConvolution,
    RMSNorm,
    RMSNormLinear,
    RotaryEmbedding,
    ShortConvolution,
)

IMPORTED = {  # what code outside imports, by the module that it names
    "fla.modules.convolution": "ShortConvolution causal_conv1d causal_conv1d_update causal_conv1d_update_cuda fft_conv "
                               "LongConvolution ImplicitLongConvolution causal_conv1d_update_states",
    "fla.modules.conv": "causal_conv1d ShortConvolution",
    "fla.modules.conv.triton": "causal_conv1d_update_states",
    "fla.modules.conv.cuda": "fast_causal_conv1d_fn",
    "fla.modules.l2norm": "l2norm l2_norm L2Norm l2norm_fwd l2norm_bwd",
    "fla.modules.l2warp": "l2_warp",
    "fla.modules.activations": "ACT2FN swish swiglu swiglu_linear sigmoid logsigmoid sqrelu fast_gelu_impl powglu",
    "fla.modules.layernorm": "layer_norm rms_norm group_norm rms_norm_linear GroupNormRef NormParallel",
    "fla.modules.layernorm_gated": "RMSNormGated rmsnorm_fn LayerNormGated layernorm_fn",
    "fla.modules.fused_norm_gate": "rms_norm_swish_gate_linear layer_norm_gated rms_norm_gated FusedRMSNormGatedLinear",
    "fla.modules.fused_linear_cross_entropy": "FusedLinearCrossEntropyLoss LinearLossParallel",
    "fla.modules.fused_cross_entropy": "FusedCrossEntropyLoss cross_entropy_loss",
    "fla.modules.fused_kl_div": "FusedKLDivLoss",
    "fla.modules.fused_bitlinear": "BitLinear FusedBitLinear",
    "fla.modules.mlp": "GatedMLP SwiGLULinear SwiGLULinearParallel",
    "fla.modules.parallel": "PrepareModuleWeight",
    "fla.modules.rotary": "RotaryEmbedding rotary_embedding rotary_embedding_ref",
    "fla.modules.token_shift": "token_shift token_shift_ref TokenShift",
    "fla.modules.feature_map": "DPFPFeatureMap HadamardFeatureMap HedgehogFeatureMap T2RFeatureMap TaylorFeatureMap "
                               "RebasedFeatureMap ReLUFeatureMap SwishFeatureMap",
    "fla.modules.grpo": "fused_grpo_loss grpo_loss_torch grpo_loss_with_old_logps",
}


@pytest.mark.parametrize("name", IMPORTED)
def test_imports(name):
    module = importlib.import_module(name)
    for attribute in IMPORTED[name].split():
        assert callable(getattr(module, attribute)) or attribute == "ACT2FN"
    for attribute in module.__all__:
        assert getattr(module, attribute) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name


def test_the_convolution_is_found_through_its_package(monkeypatch):
    """Libraries that bring their own convolution replace fla.modules.conv.causal_conv1d."""
    seen = []

    def other(x, *args, **kwargs):
        seen.append(x.shape)
        return x, None

    monkeypatch.setattr(modules.conv, "causal_conv1d", other)
    x = torch.randn(1, 3, 4)
    assert ShortConvolution(4, 2)(x)[0] is x and seen == [(1, 3, 4)]


def test_importing_loads_no_distributed_tensors():
    code = ("import sys, fla.modules; "
            "sys.exit(any(m.startswith(('torch.distributed.tensor.parallel', 'transformers', 'triton.language', 'einops'))"
            " for m in sys.modules))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


STATE_DICTS = [
    ("BitLinear", dict(in_features=64, out_features=32), {"weight": [32, 64], "norm.weight": [64]}),
    ("FusedBitLinear", dict(in_features=64, out_features=32), {"weight": [32, 64], "norm.weight": [64]}),
    ("FusedCrossEntropyLoss", {}, {}),
    ("FusedKLDivLoss", {}, {}),
    ("FusedLayerNormGated", dict(hidden_size=1024), {"weight": [1024]}),
    ("FusedLayerNormSwishGate", dict(hidden_size=1024), {"weight": [1024]}),
    ("FusedLayerNormSwishGateLinear", dict(hidden_size=1024), {"weight": [1024]}),
    ("FusedLinearCrossEntropyLoss", {}, {}),
    ("FusedRMSNormGated", dict(hidden_size=1024), {"weight": [1024]}),
    ("FusedRMSNormSwishGate", dict(hidden_size=1024), {"weight": [1024]}),
    ("FusedRMSNormSwishGateLinear", dict(hidden_size=1024), {"weight": [1024]}),
    ("GatedMLP", dict(hidden_size=1024), {"gate_proj.weight": [2816, 1024], "up_proj.weight": [2816, 1024],
                                          "down_proj.weight": [1024, 2816]}),
    ("GroupNorm", dict(num_groups=4, hidden_size=64), {"weight": [64]}),
    ("GroupNormLinear", dict(num_groups=4, hidden_size=64, bias=True), {"weight": [64], "bias": [64]}),
    ("ImplicitLongConvolution", dict(hidden_size=64, max_len=128),
     {"pos_emb.z": [1, 128, 3], "mlp.0.weight": [16, 3], "mlp.0.bias": [16], "mlp.2.weight": [64, 16],
      "mlp.2.bias": [64]}),
    ("L2Norm", {}, {}),
    ("LayerNorm", dict(hidden_size=1024), {"weight": [1024]}),
    ("LayerNormLinear", dict(hidden_size=1024), {"weight": [1024]}),
    ("LongConvolution", dict(hidden_size=64, max_len=128), {"filter": [64, 128]}),
    ("RMSNorm", dict(hidden_size=1024, bias=True), {"weight": [1024], "bias": [1024]}),
    ("RMSNormLinear", dict(hidden_size=1024), {"weight": [1024]}),
    ("RotaryEmbedding", dict(dim=64), {}),
    ("ShortConvolution", dict(hidden_size=64, kernel_size=4), {"weight": [64, 1, 4]}),
]


@pytest.mark.parametrize("name, arguments, expected", STATE_DICTS, ids=[s[0] for s in STATE_DICTS])
def test_state_dicts(name, arguments, expected):
    module = getattr(modules, name)(**arguments)
    assert {k: list(v.shape) for k, v in module.state_dict().items()} == expected


@pytest.mark.parametrize("module, printed", [
    (lambda: RMSNorm(2048, eps=1e-6), "RMSNorm(2048, eps=1e-06)"),
    (lambda: LayerNorm(8, elementwise_affine=False), "LayerNorm(8, elementwise_affine=False, eps=1e-05)"),
    (lambda: GroupNorm(4, 64, is_rms_norm=True), "GroupNorm(4, 64, is_rms_norm=True, eps=1e-05)"),
    (lambda: GroupNorm(4, 64), "GroupNorm(4, 64, eps=1e-05)"),
    (lambda: RMSNormLinear(8), "RMSNormLinear(8, eps=1e-05)"),
    (lambda: FusedRMSNormGated(512), "FusedRMSNormGated(512, eps=1e-05, activation=swish)"),
    (lambda: modules.FusedLayerNormGated(512, activation="sigmoid"),
     "FusedLayerNormGated(512, eps=1e-05, activation=sigmoid)"),
    (lambda: modules.FusedRMSNormSwishGateLinear(8), "FusedRMSNormSwishGateLinear(8, eps=1e-05)"),
    (lambda: RotaryEmbedding(128), "RotaryEmbedding(dim=128, base=10000.0, interleaved=False, pos_idx_in_fp32=True)"),
    (lambda: RotaryEmbedding(8, scale_base=512.),
     "RotaryEmbedding(dim=8, base=10000.0, interleaved=False, scale_base=512.0, pos_idx_in_fp32=True)"),
    (lambda: ShortConvolution(64, 4), "ShortConvolution(64, 64, kernel_size=(4,), stride=(1,), padding=(3,), "
                                      "groups=64, bias=False, activation=silu, backend=triton)"),
    (lambda: FusedBitLinear(8, 4),
     "FusedBitLinear(in_features=8, out_features=4, bias=False, norm_eps=1e-08)"),
    (lambda: GatedMLP(8, intermediate_size=12).swiglu_linear, "SwiGLULinear()"),
])
def test_printed_forms(module, printed):
    assert repr(module()) == printed


def test_norms_are_made_on_a_device_and_in_a_dtype():
    for norm in (RMSNorm(8, device="meta", dtype=torch.bfloat16), FusedRMSNormGated(8, device="meta",
                                                                                  dtype=torch.bfloat16)):
        assert norm.weight.is_meta and norm.weight.dtype == torch.bfloat16


def test_positions_of_arguments():
    """Arguments that older code gives by position."""
    expected = {
        ShortConvolution: "hidden_size kernel_size bias activation backend device dtype",
        RMSNorm: "hidden_size elementwise_affine bias eps device dtype",
        GroupNorm: "num_groups hidden_size elementwise_affine bias eps is_rms_norm device dtype",
        FusedRMSNormGated: "hidden_size elementwise_affine eps activation device dtype",
        modules.FusedLayerNormGated: "hidden_size elementwise_affine bias activation eps device dtype",
        RotaryEmbedding: "dim base scale_base interleaved pos_idx_in_fp32 device",
        GatedMLP: "hidden_size hidden_ratio intermediate_size hidden_act fuse_swiglu",
        FusedCrossEntropyLoss: "ignore_index reduction label_smoothing logit_scale lse_square_scale inplace_backward "
                               "process_group return_z_loss",
        FusedLinearCrossEntropyLoss: "ignore_index label_smoothing logit_scale num_chunks reduction use_l2warp "
                                     "l2_penalty_factor",
    }
    for module, names in expected.items():
        assert list(inspect.signature(module).parameters)[:len(names.split())] == names.split()
    x = torch.randn(1, 3, 4)
    assert len(modules.convolution.causal_conv1d(x, torch.randn(4, 2), None, x, None, True, "silu", "triton", None)) == 2


def test_names_of_autograd_functions():
    """Code that calls X.apply; the order of arguments is the original's."""
    from fla.modules import convolution, fused_norm_gate, layernorm, layernorm_gated
    x, g, w = torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.randn(5, 8)
    expected = layernorm.rms_norm(x, None, None, g, 1e-3, True)
    for got, ref in zip(layernorm.LayerNormFunction.apply(x, None, None, g, 1e-3, True, False, True), expected):
        assert torch.equal(got, ref)
    got = layernorm.LayerNormLinearFunction.apply(x, None, None, w, None, None, 1e-3, False, False, True, 2)
    assert torch.equal(got, layernorm.group_norm_linear(x, None, None, w, None, eps=1e-3, is_rms_norm=True, num_groups=2))
    got = fused_norm_gate.LayerNormGatedFunction.apply(x, g, None, None, "sigmoid", None, 1e-3, False, False, True)
    assert torch.equal(got, fused_norm_gate.rms_norm_gated(x, g, None, None, "sigmoid", eps=1e-3))
    got = fused_norm_gate.LayerNormGatedLinearFunction.apply(x, g, None, None, w, None, None, 1e-3)
    assert torch.equal(got, fused_norm_gate.layer_norm_swish_gate_linear(x, g, None, None, w, None, eps=1e-3))
    got = layernorm_gated.LayerNormFn.apply(x, torch.ones(8), None, g, 1e-3, None, True, True)
    assert torch.equal(got, layernorm_gated.rmsnorm_fn(x, torch.ones(8), None, g, 1e-3))
    y, state = convolution.CausalConv1dFunction.apply(x, torch.ones(8, 2), None, None, None, True, "silu", None)
    assert torch.equal(y, torch.nn.functional.silu(x + torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]))
    assert torch.equal(state, x[:, 1:].mT)


torch.manual_seed(0)
X, G, H = torch.randn(2, 12, 16), torch.randn(2, 12, 16), torch.randn(2, 12, 4, 4)
CU = torch.tensor([0, 0, 5, 6, 12])
TARGET = torch.randint(0, 50, (24,))


def compiled_cases():
    norm, gated, linear = RMSNorm(16), FusedRMSNormGated(16), RMSNormLinear(16)
    conv, mlp, rotary, xpos = ShortConvolution(16, 4, True), GatedMLP(16, 4, 32), RotaryEmbedding(4), RotaryEmbedding(4, scale_base=512.)
    bit, long = FusedBitLinear(16, 8), LongConvolution(16, 12)
    ce, lce, kl = FusedCrossEntropyLoss(), FusedLinearCrossEntropyLoss(use_l2warp=True), FusedKLDivLoss()
    w = torch.randn(50, 16)
    return {
        "norm": (lambda x, r: norm(x, r, prenorm=True), X, G),
        "gated norm": (gated, X, G),
        "norm and linear": (lambda x, w: linear(x, w, None), X, w),
        "l2norm": (modules.l2norm.l2norm, X),
        "rotary": (lambda q, k: rotary(q, k), H, H),
        "rotary with offsets": (lambda q, o: rotary(q, q, o, max_seqlen=20)[0], H, torch.tensor([1, 3])),
        "rotary of packed sequences": (lambda q, c: rotary(q, q, cu_seqlens=c)[0], H[:1], CU),
        "xpos": (lambda q, k: xpos(q, k), H, H),
        "convolution": (lambda x, s: conv(x, cache=s, output_final_state=True), X, torch.randn(2, 16, 4)),
        "convolution of packed sequences": (lambda x, c, s: conv(x, cu_seqlens=c, cache=s, output_final_state=True),
                                            X[:1], CU, torch.randn(4, 16, 4)),
        "convolution of one token": (lambda x, s: conv(x, cache=s), X[:, :1], torch.randn(2, 16, 4)),
        "long convolution": (long, X),
        "mlp": (mlp, X),
        "bit linear": (bit, X),
        "token shift": (lambda x, c: modules.token_shift.token_shift(x, c, output_cache=True), X[:1], CU),
        "cross entropy": (lambda l, t: ce(l, t), torch.randn(24, 50), TARGET),
        "linear cross entropy": (lambda x, t, w: lce(x, t, w), X, TARGET.view(2, 12), w),
        "kl divergence": (lambda x, w, t, u: kl(x, t.detach(), w, u.detach()), X[0], w, G[0], w.clone()),
    }


def outputs(result):
    return [t for t in (result if isinstance(result, tuple) else (result,)) if t is not None]


@pytest.mark.parametrize("name", compiled_cases())
def test_compiles_without_a_graph_break(name):
    function, *tensors = compiled_cases()[name]
    torch._dynamo.reset()

    def run(function):
        inputs = [t.clone().requires_grad_(t.is_floating_point()) for t in tensors]
        out = outputs(function(*inputs))
        wanted = [t for t in inputs if t.requires_grad]
        return out, torch.autograd.grad([t for t in out if t.requires_grad], wanted,
                                        [torch.ones_like(t) for t in out if t.requires_grad], allow_unused=True)

    expected, dexpected = run(function)
    got, dgot = run(torch.compile(function, fullgraph=True, backend="aot_eager"))
    torch.testing.assert_close(got, expected)
    for a, b in zip(dgot, dexpected):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)


@pytest.mark.long  # it calls a C++ compiler
def test_the_default_compiler_takes_a_norm_and_a_convolution():
    norm, conv = RMSNorm(16), ShortConvolution(16, 4)
    torch._dynamo.reset()

    def block(x):
        return norm(x + conv(x)[0])

    x = X.clone().requires_grad_()
    y = torch.compile(block, fullgraph=True)(x)
    torch.testing.assert_close(y, block(X))
    y.sum().backward()
    dx = X.clone().requires_grad_()
    block(dx).sum().backward()
    torch.testing.assert_close(x.grad, dx.grad, atol=1e-4, rtol=1e-4)


def test_bit_linear_has_its_norm_in_float32():
    assert BitLinear(8, 4).norm.weight.dtype == torch.float32
