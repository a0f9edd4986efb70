"""Large rows on a CPU take the fastest of a definition and PyTorch's own function; results are those of small ones."""

import pytest
import torch

from fla.modules import _blocks, _norm, l2norm
from fla.modules.fused_norm_gate import rms_norm_gated
from fla.modules.layernorm import layer_norm, rms_norm

torch.manual_seed(0)
X, G, R = (torch.randn(3, 1373, 64) for _ in range(3))
W, B = torch.randn(64), torch.randn(64)
CASES = {
    "rms norm": (lambda x, w: rms_norm(x, w, None), X, W),
    "rms norm without a weight": (lambda x: rms_norm(x, None, None, eps=1e-3), X),
    "rms norm with a bias and a residual": (lambda x, w, b, r: rms_norm(x, w, b, r), X, W, B, R),
    "gated rms norm": (lambda x, g, w: rms_norm_gated(x, g, w, None), X, G, W),
    "sigmoid gate": (lambda x, g, w: rms_norm_gated(x, g, w, None, "sigmoid"), X, G, W),
    "layer norm": (lambda x, w, b: layer_norm(x, w, b), X, W, B),
    "layer norm of columns of a wider tensor": (lambda x, w: layer_norm(x.repeat(1, 1, 2)[..., 64:], w, None), X, W),
    "l2norm": (l2norm.l2norm, X),
    "l2norm of rows apart": (lambda x: l2norm.l2norm(x.transpose(0, 1)), X),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_large_rows_as_small_ones(name, dtype, monkeypatch):
    function, *tensors = CASES[name]
    assert _blocks.is_large(X.to(dtype).reshape(-1, 64), "cpu")

    def run():
        inputs = [t.to(dtype).requires_grad_() for t in tensors]
        y = function(*inputs)
        return (y, *torch.autograd.grad(y, inputs, torch.cos(torch.arange(y.numel())).reshape(y.shape).to(dtype)))

    large = run()
    for module in (_norm, l2norm):
        monkeypatch.setattr(module, "is_large", lambda *_: False)
    for got, expected in zip(large, run()):
        assert got.dtype == expected.dtype and got.shape == expected.shape
        error = (got.double() - expected.double()).norm() / expected.double().norm()
        assert error < (1e-5 if dtype == torch.float32 else 1e-2)


def test_the_definition_runs_where_it_is_faster(monkeypatch):
    from fla.modules import _rows
    calls = []
    monkeypatch.setattr(_rows, "norm", lambda *given, **named: calls.append(given) or (given[0], None))
    rms_norm(X, W, None)
    layer_norm(X, W, B)
    rms_norm(X[:1], W, None)  # few numbers
    rms_norm(X.double(), W, None)
    assert len(calls) == 1


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="expected an activation among"):
        rms_norm_gated(X, G, W, None, "relu")


def test_double_backward_of_large_rows_is_refused():
    x = X.clone().requires_grad_()
    slope, = torch.autograd.grad(rms_norm(x, W, None).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives are not available"):
        slope.sum().backward()


def test_devices_without_kernels_take_pytorch():
    assert l2norm.l2norm(torch.empty(1024, 1024, device="meta")).shape == (1024, 1024)
    assert rms_norm(torch.empty(1024, 1024, device="meta"), None, None).is_meta
