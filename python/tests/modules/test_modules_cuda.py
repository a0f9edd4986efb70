"""Row-wise modules and the short convolution on a GPU, where large ones go other ways than on a CPU."""

import pytest
import torch

from fla.modules import LayerNorm, RMSNorm
from fla.modules.conv import causal_conv1d
from fla.modules.l2norm import l2norm

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch sees")

LIMITS = {torch.float32: 3e-6, torch.bfloat16: 5e-3}


def compare(function, tensors, dtype):
    """The output and all gradients of `function` on the GPU, against float64 on the CPU, relative."""
    tensors = [t.to(dtype) for t in tensors]

    def run(given):
        leaves = [t.detach().requires_grad_() for t in given]
        y = function(*leaves)
        weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(y.shape).to(dtype).to(y)
        return [y, *torch.autograd.grad(y, leaves, weights)]

    for got, want in zip(run([t.cuda() for t in tensors]), run([t.double() for t in tensors])):
        assert got.is_cuda and got.dtype == dtype and got.shape == want.shape
        assert (got.double().cpu() - want).norm() <= LIMITS[dtype] * want.norm()


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("shape", [(3, 5, 64), (4, 700, 100), (8, 1024, 1024)])
def test_unit_rows(shape, dtype):
    compare(l2norm, [torch.randn(*shape)], dtype)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("shape", [(3, 5, 64), (8, 1024, 512)])
@pytest.mark.parametrize("module", [RMSNorm, LayerNorm])
def test_norms(module, shape, dtype):
    norm = module(shape[-1], eps=1e-5)

    def function(x, weight):
        return torch.func.functional_call(norm, {"weight": weight}, (x,))

    compare(function, [torch.randn(*shape), 1 + 0.1 * torch.randn(shape[-1])], dtype)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("shape", [(2, 70, 128), (8, 200, 1024), (4, 131, 4096)])
def test_convolutions(shape, dtype):
    compare(lambda x, w: causal_conv1d(x, w, activation="silu")[0], [torch.randn(*shape), torch.randn(shape[-1], 4)], dtype)


def test_a_packed_convolution():
    offsets = torch.tensor([0, 300, 300, 1100, 2048])

    def function(x, weight):
        return causal_conv1d(x, weight, activation="silu", cu_seqlens=offsets.to(x.device))[0]

    compare(function, [torch.randn(1, 2048, 2048), torch.randn(2048, 4)], torch.float32)
