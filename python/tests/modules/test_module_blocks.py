"""Row-wise modules on a CPU go through large inputs in blocks: the results are those of one block."""

import pytest
import torch

from fla.modules import _blocks
from fla.modules.activations import powglu, swiglu, swiglu_linear
from fla.modules.convolution import causal_conv1d
from fla.modules.fused_norm_gate import rms_norm_gated
from fla.modules.l2norm import l2norm, l2norm_bwd, l2norm_fwd
from fla.modules.layernorm import group_norm, group_norm_linear
from fla.modules.layernorm_gated import layernorm_fn

X, G, D = torch.randn(2, 13, 8), torch.randn(2, 13, 8), torch.randn(2, 13, 8)
W, B, L, C = torch.randn(8), torch.randn(8), torch.randn(5, 8), torch.randn(8, 4)

CASES = {
    "group norm": (lambda x, w, b: group_norm(x, w, b, num_groups=2), X, W, B),
    "gated norm": (lambda x, g, w: rms_norm_gated(x, g, w, None), X, G, W),
    "gate before the norm": (lambda x, w, g: layernorm_fn(x, w, None, g, group_size=4, norm_before_gate=False), X, W, G),
    "norm and linear": (lambda x, w, l: group_norm_linear(x, w, None, l, None), X, W, L),
    "l2norm": (l2norm, X),
    "swiglu": (swiglu, X, G),
    "powglu": (powglu, X, G),
    "swiglu and linear": (lambda x, y, l: swiglu_linear(x, y, l, None), X, G, L),
    "convolution": (lambda x, c: causal_conv1d(x, c)[0], X, C),
    "convolution with all it takes": (lambda x, c, b, r, s: causal_conv1d(x, c, b, r, s, activation="silu")[0],
                                      X, C, B, G, torch.randn(2, 8, 4)),
}


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_blocks_make_no_difference(name, dtype, rows, monkeypatch):
    function, *tensors = CASES[name]

    def run():
        inputs = [t.to(dtype).requires_grad_() for t in tensors]
        y = function(*inputs)
        return y, torch.autograd.grad(y, inputs, torch.ones_like(y))

    whole = run()
    monkeypatch.setattr(_blocks, "_ELEMENTS", 8 * rows)
    with torch.no_grad():
        assert _blocks.step_for(X, 8) == rows, "the input must be large enough to be taken in blocks"
    blocks = run()
    tolerance = {} if dtype == torch.float32 else {"atol": 2e-2, "rtol": 2e-2}  # sums over rows, rounded once
    torch.testing.assert_close(blocks[0], whole[0])
    torch.testing.assert_close(blocks[1], whole[1], **tolerance)


def test_the_two_halves_of_l2norm_in_blocks(monkeypatch):
    y, rstd = l2norm_fwd(X)
    dx = l2norm_bwd(y, rstd, D)
    monkeypatch.setattr(_blocks, "_ELEMENTS", 16)
    with torch.no_grad():
        for got, expected in zip((*l2norm_fwd(X), l2norm_bwd(y, rstd, D)), (y, rstd, dx)):
            torch.testing.assert_close(got, expected)


def test_one_block_where_autograd_records(monkeypatch):
    monkeypatch.setattr(_blocks, "_ELEMENTS", 16)
    assert _blocks.step_for(X, 8) is None
    x = X.double().requires_grad_()
    assert torch.autograd.gradgradcheck(l2norm, (x[:1, :6],))
