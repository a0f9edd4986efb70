"""Operators on a GPU against the same operators on the CPU, and what PyTorch does with them.

Runs where there is a GPU alone; test_device.py covers everything up to the driver.
"""

import pytest
import torch

import fla
from fla.lang import load
from helpers import error, gated_delta_inputs

if torch.cuda.is_available():
    WHY = ""
elif not torch.backends.cuda.is_built():
    WHY = "this PyTorch is built without CUDA and ROCm"
else:
    WHY = "this machine has no GPU that PyTorch can use"
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)

FORWARD = {torch.float32: 1e-5, torch.bfloat16: 5e-3, torch.float16: 1.5e-3}
BACKWARD = {torch.float32: 3e-5, torch.bfloat16: 1e-2, torch.float16: 3e-3}


def inputs_of(stem, B=2, T=150, H=2, K=64, V=64, M=32, seed=0):
    """Inputs by name, float64 on the CPU, in the range that the definition's gates have."""
    r = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(B, T, H, *shape, generator=r, dtype=torch.float64)  # noqa: E731
    gate = lambda *shape: -torch.rand(B, T, H, *shape, generator=r, dtype=torch.float64)  # noqa: E731
    if stem == "gated_delta_rule":
        return dict(zip(("q", "k", "v", "g", "beta"), gated_delta_inputs(B, T, H, K, V, torch.float64, seed)))
    gates = {"simple_gla": {"g": gate()}, "gla": {"gk": gate(K)}, "gsa": {"s": draw(M), "g": gate(M)}}[stem]
    return {"q": draw(K), "k": draw(K) / 8, "v": draw(V), **gates}


def results(op, inputs, device, dtype, offsets=None, **kwargs):
    """Outputs, final states and gradients, on the CPU in float64."""
    leaves = {n: x.to(dtype).to(device, torch.float64 if device == "cpu" else dtype).requires_grad_() for n, x in inputs.items()}
    cu_seqlens = None if offsets is None else torch.tensor(offsets, device=device)
    *outputs, final = op(**leaves, output_final_state=True, cu_seqlens=cu_seqlens, **kwargs)
    forward = [*outputs, *(final if isinstance(final, tuple) else (final,))]
    r = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=r, dtype=torch.float64).to(device) for x in forward]
    total = sum((x.double() * w).sum() for x, w in zip(forward, weights))
    grads = torch.autograd.grad(total, list(leaves.values()))
    to_host = lambda xs: [x.detach().double().cpu() for x in xs]  # noqa: E731
    return to_host(forward), to_host(grads)


def compare(stem, dtype, offsets=None, forward=None, backward=None, **sizes):
    op, inputs = load(stem), inputs_of(stem, **sizes)
    want, got = results(op, inputs, "cpu", dtype, offsets), results(op, inputs, "cuda", dtype, offsets)
    limits = (forward or FORWARD[dtype], backward or BACKWARD[dtype])
    for what, limit, a, b in zip(("result", "gradient"), limits, got, want):
        for i, (x, y) in enumerate(zip(a, b)):
            assert error(x, y) <= limit, f"{what} {i}: error {error(x, y):.1e} above {limit:.0e}"


@pytest.mark.parametrize("stem", ["gated_delta_rule", "simple_gla", "gla", "gsa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_against_the_cpu(stem, dtype):
    compare(stem, dtype)


@pytest.mark.parametrize("stem", ["gated_delta_rule", "simple_gla", "gla", "gsa"])
def test_packed(stem):
    compare(stem, torch.float32, offsets=[0, 20, 20, 150, 290], B=1, T=300)


def on_gpu(T=150, B=2, H=2, K=64, V=64, seed=0, dtype=torch.float32):
    return [x.cuda().to(dtype) for x in gated_delta_inputs(B, T, H, K, V, seed=seed)]


def test_tokens_past_the_last_offset_are_zero():
    op, inputs = load("gated_delta_rule"), on_gpu(B=1)
    leaves = [x.requires_grad_() for x in inputs]
    o, _ = op(*leaves, cu_seqlens=torch.tensor([0, 40, 100], device="cuda", dtype=torch.int32))
    assert not o[:, 100:].any()
    for d in torch.autograd.grad(o.sum(), leaves):
        assert not d[:, 100:].any()


def test_recurrent_form():
    op, inputs = load("gated_delta_rule"), on_gpu(T=1)
    start = torch.randn(2, 2, 64, 64, device="cuda")
    want = op(*(x.cpu() for x in inputs), initial_state=start.cpu(), output_final_state=True)
    got = op(*inputs, initial_state=start, output_final_state=True)
    assert all(error(a.cpu(), b) <= 1e-5 for a, b in zip(got, want))


def test_another_stream():
    op, inputs = load("gated_delta_rule"), on_gpu(T=2048)
    want = op(*inputs)[0]
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        slow = [x * 1 for x in inputs]  # written late on this stream: a launch elsewhere would read garbage
        got = op(*slow)[0]
        ahead = not stream.query()
    torch.cuda.current_stream().wait_stream(stream)
    assert torch.equal(got, want) and ahead, "expected the launch to return before the stream's work"


def test_graph():
    """A captured forward replays on new contents, run-time values included."""
    op, inputs = load("gated_delta_rule"), on_gpu()
    op(*inputs, scale=0.3)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        o, final = op(*inputs, scale=0.3, output_final_state=True)
        other = op(*inputs, scale=0.7)[0]
    for seed in (1, 2):
        for x, new in zip(inputs, on_gpu(seed=seed)):
            x.copy_(new)
        graph.replay()
        want, state = op(*inputs, scale=0.3, output_final_state=True)
        assert torch.equal(o, want) and torch.equal(final, state)
        assert torch.equal(other, op(*inputs, scale=0.7)[0])


def test_graph_of_packed_sequences():
    op, inputs = load("gated_delta_rule"), on_gpu(B=1)
    offsets = torch.tensor([0, 40, 100], device="cuda")
    op(*inputs, cu_seqlens=offsets)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        o, _ = op(*inputs, cu_seqlens=offsets)
    offsets.copy_(torch.tensor([0, 90, 150]))
    graph.replay()
    assert torch.equal(o, op(*inputs, cu_seqlens=torch.tensor([0, 90, 150], device="cuda"))[0])


def test_compile():
    op, inputs = load("gated_delta_rule"), on_gpu()

    def step(*xs):
        o, _ = op(*xs)
        return (o * 2).sin()

    leaves = [x.clone().requires_grad_() for x in inputs]
    want = step(*leaves)
    grads = torch.autograd.grad(want.sum(), leaves)
    got = torch.compile(step, fullgraph=True)(*leaves)
    assert error(got.cpu(), want.cpu()) <= 1e-6
    for a, b in zip(torch.autograd.grad(got.sum(), leaves), grads):
        assert error(a.cpu(), b.cpu()) <= 1e-6


def test_new_sizes_compile_nothing():
    op = load("gated_delta_rule")
    for T in (150, 600):
        leaves = [x.requires_grad_() for x in on_gpu(T=T)]
        op(*leaves)[0].sum().backward()
    op(*on_gpu())
    before = fla.compilations()
    for i in range(10):
        leaves = [x.requires_grad_() for x in on_gpu(T=100 + 37 * i, B=1 + i % 3, H=1 + i % 4)]
        op(*leaves)[0].sum().backward()
        op(*on_gpu(T=100 + 37 * i, B=1 + i % 3, H=1 + i % 4))
    assert fla.compilations() == before


def test_repeated_calls_neither_wait_nor_copy():
    op, inputs = load("gated_delta_rule"), on_gpu()
    for _ in range(3):
        op(*inputs, scale=0.5)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            op(*inputs, scale=0.5)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_equal_results_twice():
    op, inputs = load("gated_delta_rule"), on_gpu(T=1000)
    first, second = ([x.grad for x in leaves] for leaves in (backward(op, inputs), backward(op, inputs)))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def backward(op, inputs):
    leaves = [x.clone().requires_grad_() for x in inputs]
    op(*leaves)[0].sin().sum().backward()
    return leaves


def test_tensors_on_several_devices():
    op, (q, k, v, g, beta) = load("gated_delta_rule"), on_gpu()
    with pytest.raises(ValueError, match="argument 'k': expected a tensor on cuda:0, as 'q' is, got one on cpu"):
        op(q, k.cpu(), v, g, beta)
    with pytest.raises(ValueError, match="cu_seqlens: expected a tensor on cuda:0, as 'q' is, got one on cpu"):
        op(*(x[:1] for x in (q, k, v, g, beta)), cu_seqlens=torch.tensor([0, 150]))
    with pytest.raises(TypeError, match="expected dtype float32, bfloat16 or float16 on a GPU"):
        op(q.double(), k, v, g, beta)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason=f"expected two GPUs, got {torch.cuda.device_count()}")
def test_another_device():
    """Not the current one: results lie where the inputs do."""
    op, inputs = load("gated_delta_rule"), on_gpu()
    o = op(*(x.to("cuda:1") for x in inputs))[0]
    assert o.device == torch.device("cuda:1") and torch.equal(o.cpu(), op(*inputs)[0].cpu())
