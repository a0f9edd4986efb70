"""What holds for every layer: shapes, gradients, padding, packing, refused arguments."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from layer_cases import LAYERS, NAMES, PLAIN, WIDTH, close, make

import fla.layers


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("tokens", [7, 70])
@pytest.mark.parametrize("name", NAMES)
def test_output_and_gradients(name, tokens):
    """Of a short call and of one that the chunkwise form takes, with every parameter reached."""
    layer, x = make(name).train(), torch.randn(2, tokens, WIDTH, requires_grad=True)
    o, attentions, past, *_ = layer(x)
    assert o.shape == x.shape and attentions is None and past is None
    o.square().sum().backward()
    unused = {"v_first"}
    assert [n for n, p in layer.named_parameters() if p.grad is None and n not in unused] == []
    assert x.grad.isfinite().all() and x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_causal(name):
    """A token changes nothing before it, in either form."""
    layer, x = make(name), torch.randn(1, 80, WIDTH)
    other = x.clone()
    other[:, 70] += 1
    a, b = layer(x)[0], layer(other)[0]
    assert torch.allclose(a[:, :70], b[:, :70], atol=1e-5) and not torch.allclose(a[:, 70:], b[:, 70:], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_short_and_long_calls_agree(name):
    """The first tokens of a long call (chunks) and a short call (token by token) give the same."""
    layer, x = make(name), torch.randn(2, 100, WIDTH)
    assert (layer(x)[0][:, :40] - layer(x[:, :40])[0]).abs().max() <= close(name)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_padding_is_zero_and_changes_nothing(name):
    layer, x = make(name), torch.randn(3, 12, WIDTH)
    mask = torch.ones(3, 12, dtype=torch.long)
    mask[1, :4], mask[2, 5:8] = 0, 0
    o = layer(x, attention_mask=mask)[0]
    for row in range(3):
        real = mask[row].bool()
        alone = layer(x[row][real][None])[0][0]
        assert (o[row][real] - alone).abs().max() <= close(name)
    assert not o[~mask.bool()].any() or layer_adds_bias(layer)


def layer_adds_bias(layer) -> bool:
    return any(getattr(module, "bias", None) is not None for n, module in layer.named_modules() if n == "o_proj")


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_packed_sequences_are_apart(name):
    layer, x, lengths = make(name), torch.randn(1, 90, WIDTH), [70, 1, 19]
    o = layer(x, cu_seqlens=torch.tensor([0, 70, 71, 90]))[0]
    for got, part in zip(o.split(lengths, 1), x.split(lengths, 1)):
        assert (got - layer(part)[0]).abs().max() <= close(name)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_masks_and_sequences_are_refused(name):
    layer, x = make(name), torch.randn(2, 5, WIDTH)
    with pytest.raises(AssertionError, match="0-1 matrix"):
        layer(x, attention_mask=torch.ones(2, 5, 5))
    with pytest.raises(AssertionError, match="rows of 5 tokens"):
        layer(x, attention_mask=torch.ones(2, 4))
    with pytest.raises(ValueError, match="batch of one"):
        layer(x, cu_seqlens=torch.tensor([0, 5, 10]))


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_forms_of_a_feature_map_agree(name):
    x = torch.randn(2, 40, WIDTH)
    # The first sums of squares are small: an eps beside them would show.
    outputs = [make(name, mode=mode, eps=1e-10)(x) for mode in ("parallel", "chunk", "fused_chunk")]
    assert outputs[0].shape == x.shape
    assert all(torch.allclose(o, outputs[0], atol=1e-4) for o in outputs[1:])
    outputs[0].sum().backward()


@pytest.mark.parametrize("name,mode", [("GatedLinearAttention", "fused_chunk"), ("GatedLinearAttention", "fused_recurrent"),
                                       ("HGRN2Attention", "fused_chunk"), ("LinearAttention", "fused_chunk"),
                                       ("MultiScaleRetention", "parallel"), ("MultiScaleRetention", "fused_chunk"),
                                       ("GatedDeltaNet", "fused_recurrent"), ("HGRNAttention", "fused_recurrent")])
@torch.no_grad()
def test_modes_agree(name, mode):
    x = torch.randn(2, 90, WIDTH)
    assert (make(name)(x)[0] - make(name, mode=mode)(x)[0]).abs().max() <= 1e-4


@pytest.mark.parametrize("name,wrong", [("GatedLinearAttention", dict(mode="x")), ("GatedDeltaNet", dict(mode="x")),
                                        ("MultiScaleRetention", dict(num_heads=5)), ("Attention", dict(num_kv_heads=3)),
                                        ("GatedDeltaNet", dict(num_v_heads=3)), ("Mamba2", dict(head_dim=7)),
                                        ("GatedDeltaNet", dict(expand_v=1.03)), ("KimiDeltaAttention", dict(safe_gate=True)),
                                        ("LinearAttention", dict(feature_map="x")), ("DeltaNet", dict(qk_norm="x")),
                                        ("Mamba", dict(backend="x")), ("HGRN2Attention", dict(expand_ratio=None)),
                                        ("MomAttention", dict(topk=9)), ("DeltaNet", dict(mode="fused_chunk"))])
def test_sizes_that_do_not_fit_are_refused(name, wrong):
    with pytest.raises((AssertionError, ValueError, NotImplementedError, RuntimeError)) as caught:
        make(name, **wrong)
    assert str(caught.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_in_bf16(name, dtype):
    layer, x = make(name), torch.randn(2, 20, WIDTH)
    want = layer(x)[0]
    got = layer.to(dtype)(x.to(dtype))[0]
    assert got.dtype == dtype
    assert (got.float() - want).norm() <= (0.2 if name == "BitAttention" else 5e-2) * want.norm()


def test_every_layer_is_listed():
    assert set(fla.layers.__all__) == ({*LAYERS, *PLAIN} | {"SimpleGatedLinearAttention"})
    with pytest.raises(AttributeError, match="no layer 'NativeSparseAttention'"):
        fla.layers.NativeSparseAttention


def test_layers_need_no_transformers():
    code = ("import sys; sys.modules['transformers'] = None; import fla.layers; "
            "[getattr(fla.layers, n) for n in fla.layers.__all__]; print('ok')")
    root = str(Path(fla.layers.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**__import__("os").environ, "PYTHONPATH": root})
    assert done.stdout == "ok\n", done.stderr
