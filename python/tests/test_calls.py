"""Calling an operator: layouts, heads, dtypes, binding, and what bad calls get."""

import pytest
import torch

from fla.lang import Param, Scalar, State, Vec, dims, exp, load, outer, recurrence
from helpers import assert_close, compare, gated_delta_inputs, reference

K, V = dims("K", "V")


@recurrence
def gdr(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], g: Scalar, beta: Scalar, *, scale: float = 1.0):
    S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, scale * (S.T @ q)


@recurrence
def gla(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], gk: Vec[K] | None = None, gv: Vec[V] | None = None,
        *, scale: float = 1.0):
    S = S if gk is None else exp(gk) * S
    S = S if gv is None else exp(gv) * S
    S = S + outer(k, v)
    return S, scale * (S.T @ q)


def test_outputs_and_the_final_state():
    args = gated_delta_inputs()
    o, final = gdr(*args)
    assert final is None and o.shape == (2, 70, 2, 16)
    o2, final = gdr(*args, output_final_state=True)
    assert torch.equal(o, o2) and final.shape == (2, 2, 16, 16) and final.dtype == torch.float32
    (want,), (state,) = reference(gdr, *args)
    assert_close(o, want)
    assert_close(final, state)


def test_arguments_by_position_and_by_name():
    q, k, v, g, beta = gated_delta_inputs()
    o, _ = gdr(q, k, v, beta=beta, g=g, scale=0.25)
    want, _ = gdr(q * 0.25, k, v, g, beta)
    assert_close(o, want, 1e-6)


def test_run_time_values_compile_nothing_new():
    import fla
    args = gated_delta_inputs(T=33)
    gdr(*args)
    before = fla.compilations()
    outputs = [gdr(*args, scale=s)[0] for s in (0.5, 2, 3.25)]
    assert fla.compilations() == before
    assert_close(outputs[1], outputs[0] * 4, 1e-6)


def test_sizes_at_run_time_compile_nothing_new():
    import fla
    gdr(*gated_delta_inputs(B=1, T=40, H=1))
    before = fla.compilations()
    for i in range(50):
        gdr(*gated_delta_inputs(B=1 + i % 3, T=17 + 7 * i, H=1 + i % 4))
    assert fla.compilations() == before


def test_optional_inputs_choose_the_definition():
    q, k, v, *_ = gated_delta_inputs()
    gk, gv = -torch.rand(2, 2, 70, 2, 16)
    zeros = torch.zeros_like(gk)
    assert_close(gla(q, k, v)[0], gla(q, k, v, zeros, zeros)[0])
    assert_close(gla(q, k, v, gv=gv)[0], gla(q, k, v, zeros, gv)[0])
    compare(gla, (q, k, v, gk, gv))


def test_optional_inputs_of_the_library():
    q, k, v, *_ = gated_delta_inputs()
    gk = -torch.rand(2, 70, 2, 16)
    op = load("gla")
    assert_close(op(q, k, v, gk)[0], gla(q, k, v, gk)[0], 1e-6)
    assert_close(op(q, k, v)[0], gla(q, k, v)[0], 1e-6)


def test_tensors_without_a_head_axis_have_one_head():
    q, k, v, g, beta = gated_delta_inputs(H=1)
    o, final = gdr(*(x.squeeze(2) for x in (q, k, v)), g.squeeze(2), beta, output_final_state=True)
    want, state = gdr(q, k, v, g, beta, output_final_state=True)
    assert torch.equal(o, want) and torch.equal(final, state)


@pytest.mark.parametrize("heads", [(1, 2, 4, 4, 2), (4, 1, 2, 1, 4), (2, 2, 2, 6, 3)])
def test_head_counts_divide_the_largest(heads):
    """Head h reads head h // (HV / H_i); gradients sum over the group."""
    r = torch.Generator().manual_seed(0)
    H = [torch.randn(1, 20, h, 8, generator=r) for h in heads[:3]]
    H[1] = torch.nn.functional.normalize(H[1], dim=-1)
    g, beta = -torch.rand(1, 20, heads[3], generator=r), torch.rand(1, 20, heads[4], generator=r)
    wide = max(heads)
    full = [x.repeat_interleave(wide // x.shape[2], 2) for x in (*H, g, beta)]
    assert_close(gdr(*H, g, beta)[0], gdr(*full)[0], 1e-6)
    compare(gdr, (*H, g, beta))


def test_a_state_has_the_heads_of_what_it_depends_on():
    @recurrence
    def normalised(S: State[K, V], z: State[K], q: Vec[K], k: Vec[K], v: Vec[V]):
        S, z = S + outer(k, v), z + k
        return (S, z), (S.T @ q) / (1 + (q @ z) * (q @ z))

    r = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 20, 2, 8, generator=r)
    v = torch.randn(1, 20, 4, 8, generator=r)
    o, (S, z) = normalised(q, k, v, output_final_state=True)
    assert o.shape[2] == 4 and S.shape == (1, 4, 8, 8) and z.shape == (1, 2, 8)
    compare(normalised, (q, k, v), initial_state=(torch.randn(1, 4, 8, 8), torch.randn(1, 2, 8)))


def test_parameters():
    @recurrence
    def mamba(h: State["D", "N"], x: Vec["D"], dt: Vec["D"], A: Param["D", "N"], B: Vec["N"], C: Vec["N"], u: Param[()]):
        h = exp(dt * A) * h + outer(dt * x, B)
        return h, h @ C + u * x

    r = torch.Generator().manual_seed(0)
    x, dt = torch.randn(2, 30, 4, 5, generator=r), torch.rand(2, 30, 4, 5, generator=r)
    B, C = torch.randn(2, 2, 30, 1, 3, generator=r)
    for heads in (4, 2, 1):
        compare(mamba, (x, dt, -torch.rand(heads, 5, 3), B, C, torch.randn(heads)))
    o, _ = mamba(x[:, :, :1], dt[:, :, :1], -torch.rand(5, 3), B, C, torch.tensor(0.5))
    assert o.shape == (2, 30, 1, 5)


def test_dimensions_that_no_argument_determines_are_keywords():
    @recurrence
    def cumulative(S: State[K, "M"], q: Vec[K], k: Vec[K], s: Scalar):
        from fla.lang import sum
        S = S + outer(k, s * (1 - 0 * (S.T @ k)))
        return S, sum(S.T @ q)

    q, k = torch.randn(2, 1, 20, 1, 4)
    s = torch.rand(1, 20, 1)
    o, final = cumulative(q, k, s, M=3, output_final_state=True)
    assert final.shape == (1, 1, 4, 3) and o.shape == (1, 20, 1)
    with pytest.raises(TypeError, match="dimension 'M' is determined by no argument; pass its size, M="):
        cumulative(q, k, s)
    with pytest.raises(TypeError, match="expected a positive integer"):
        cumulative(q, k, s, M=0)


def test_static_axes_are_indexed():
    @recurrence
    def product(S: State[K, V], q: Vec[K], k: Vec["n", K], v: Vec["n", V], beta: Vec["n"], *, n: int):
        for i in range(n):
            S = S + outer(k[i], beta[i] * (v[i] - S.T @ k[i]))
        return S, S.T @ q

    r = torch.Generator().manual_seed(0)
    for n in (1, 3):
        k = torch.nn.functional.normalize(torch.randn(1, 20, 2, n, 8, generator=r), dim=-1)
        compare(product, (torch.randn(1, 20, 2, 8, generator=r), k, torch.randn(1, 20, 2, n, 8, generator=r),
                          torch.rand(1, 20, 2, n, generator=r)), {"n": n})
    with pytest.raises(ValueError, match=r"argument 'k' \[B, T, H, n, K\]: expected size 2 for dimension n \(n = 2\), got 3"):
        product(torch.randn(1, 20, 2, 8), torch.randn(1, 20, 2, 3, 8), torch.randn(1, 20, 2, 3, 8),
                torch.rand(1, 20, 2, 3), n=2)
    with pytest.raises(TypeError, match="argument 'n' is missing"):
        product(torch.randn(1, 20, 2, 8), k, v=k, beta=k[..., 0])


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-11), (torch.float32, 1e-5),
                                              (torch.bfloat16, 2.5e-3), (torch.float16, 5e-4)])
def test_dtypes(dtype, tolerance):
    args = [x.to(dtype) for x in gated_delta_inputs(dtype=torch.float64)]
    o, final = gdr(*args, output_final_state=True)
    (want,), (state,) = reference(gdr, *args)
    assert o.dtype == dtype and final.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(o, want, tolerance)
    assert_close(final, state, max(tolerance, 1e-5) if dtype != torch.float64 else tolerance)


def test_mixed_dtypes():
    """Outputs take the dtype of the first per-token argument, gradients that of their argument."""
    q, k, v, g, beta = gated_delta_inputs()
    q, k, v = (x.bfloat16() for x in (q, k, v))
    o, final = gdr(q, k, v, g, beta, output_final_state=True)
    (want,), (state,) = reference(gdr, q, k, v, g, beta)
    assert o.dtype == torch.bfloat16 and final.dtype == torch.float32
    assert_close(o, want, 2.5e-3)
    assert_close(final, state)
    leaves = [x.requires_grad_() for x in (q, k, v, g, beta)]
    grads = torch.autograd.grad(gdr(*leaves)[0].float().sum(), leaves)
    assert [d.dtype for d in grads] == [x.dtype for x in leaves]
    assert gdr(q, k, v, g.double(), beta, output_final_state=True)[1].dtype == torch.float64


def test_strides():
    """Transposed, sliced and stride-0 inputs give what contiguous ones give."""
    q, k, v, g, beta = gated_delta_inputs()
    want = gdr(q, k, v, g, beta)[0]
    swapped = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v, g, beta)]
    assert torch.equal(gdr(*swapped)[0], want)
    inner = [x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in (q, k, v)]
    assert torch.equal(gdr(*inner, g, beta)[0], want)
    wide = torch.cat([q, k, v], -1)
    q2, k2, v2 = wide.split(16, -1)
    assert torch.equal(gdr(q2, k2, v2, g, beta)[0], want)
    one = torch.tensor(-0.1).expand(2, 70, 2)
    assert torch.equal(gdr(q, k, v, one, beta)[0], gdr(q, k, v, one.contiguous(), beta)[0])
    compare(gdr, (q[:, :, :1].expand(2, 70, 2, 16), k, v, g, beta))
    leafs = torch.tensor(0.5, requires_grad=True)
    gdr(q, k, v, g, leafs.expand(2, 70, 2))[0].sum().backward()
    assert leafs.grad.shape == ()


@pytest.mark.parametrize("B, T", [(0, 5), (2, 0), (0, 0)])
def test_nothing_to_do(B, T):
    args = [x.requires_grad_() for x in gated_delta_inputs(B=B, T=T)]
    start = torch.randn(B, 2, 16, 16, requires_grad=True)
    o, final = gdr(*args, initial_state=start, output_final_state=True)
    assert o.shape == (B, T, 2, 16) and torch.equal(final, start) and final is not start
    grads = torch.autograd.grad(o.sum() + (2 * final).sum(), (*args, start))
    assert all(d.shape == x.shape for d, x in zip(grads, args)) and torch.equal(grads[-1], torch.full_like(start, 2.0))


def test_no_sequences():
    args = gated_delta_inputs(B=1, T=5)
    o, final = gdr(*args, cu_seqlens=torch.tensor([0]), output_final_state=True)
    assert torch.equal(o, torch.zeros_like(o)) and final.shape == (0, 2, 16, 16)


# Bad calls: ValueError or TypeError with the argument, what was expected, what came.
def call(**changes):
    names = ["q", "k", "v", "g", "beta"]
    given = {**dict(zip(names, gated_delta_inputs(B=1, T=20))), **changes}
    return gdr(**{k: v for k, v in given.items() if v is not ...})


BAD = {
    "a missing argument": (dict(beta=...), TypeError, "argument 'beta' is missing"),
    "an unknown one": (dict(gamma=1.0), TypeError, "unknown argument 'gamma'; expected q, k, v, g, beta, scale"),
    "a state as an argument": (dict(S=1.0), TypeError, "states are given as initial_state"),
    "a rank": (dict(q=torch.zeros(20, 16)), ValueError, r"'q': expected a tensor \[B, T, H, K\].*got shape \[20, 16\]"),
    "a size": (dict(k=torch.zeros(1, 20, 2, 8)), ValueError,
               r"argument 'k' \[B, T, H, K\]: expected size 16 for dimension K.*got 8"),
    "a length": (dict(v=torch.zeros(1, 21, 2, 16)), ValueError, "'v': expected batch 1 and 20 tokens as in 'q'.*21"),
    "heads": (dict(v=torch.zeros(1, 20, 3, 16)), ValueError, "'q': expected a number of heads that divides 3.*got 2"),
    "an integer tensor": (dict(g=torch.zeros(1, 20, 2, dtype=torch.int64)), TypeError, "'g': expected dtype.*int64"),
    "no tensor": (dict(g=0.5), TypeError, r"'g': expected a tensor \[B, T, H\], got float"),
    "a tensor for a value": (dict(scale=torch.ones(())), TypeError, "'scale': expected a Python number, got Tensor"),
    "a form": (dict(form="fast"), ValueError, "form: expected one of auto, chunk, recurrent, got 'fast'"),
    "a chunk": (dict(chunk_size=48), ValueError, "chunk_size: expected a power of two up to 256, got 48"),
    "a dimension's size": (dict(K=8), ValueError, "dimension 'K': expected 16.*got 8"),
    "a state's shape": (dict(initial_state=torch.zeros(1, 2, 16, 8)), ValueError,
                        r"initial_state 'S': expected shape \[N, H, K, V\] = \[1, 2, 16, 16\], got \[1, 2, 16, 8\]"),
    "a state's type": (dict(initial_state=3), TypeError, "initial_state 'S': expected a tensor"),
    "two states": (dict(initial_state=(None, None)), ValueError, r"expected 1 state \(S\), got 2"),
    "offsets that decrease": (dict(cu_seqlens=torch.tensor([0, 9, 5, 20])), ValueError,
                              "cu_seqlens: expected offsets that never decrease, got 9 before 5"),
    "offsets from 1": (dict(cu_seqlens=torch.tensor([1, 20])), ValueError, "expected to start at 0, got 1"),
    "offsets past the end": (dict(cu_seqlens=torch.tensor([0, 21])), ValueError, "at most, got 21"),
    "float offsets": (dict(cu_seqlens=torch.tensor([0.0, 20.0])), TypeError, "expected dtype int32 or int64"),
    "a list of offsets": (dict(cu_seqlens=[0, 20]), TypeError, "expected an int32 or int64 tensor"),
    "offsets of rank 2": (dict(cu_seqlens=torch.zeros(1, 2, dtype=torch.int32)), ValueError, r"expected shape \[N \+ 1\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_calls(case):
    changes, kind, text = BAD[case]
    with pytest.raises(kind, match=text) as caught:
        call(**changes)
    assert str(caught.value).startswith("gdr: ")


def test_packed_sequences_need_batch_one():
    with pytest.raises(ValueError, match="expected batch size 1 with packed sequences, got 2"):
        gdr(*gated_delta_inputs(), cu_seqlens=torch.tensor([0, 70]))


def test_too_many_positional_arguments():
    with pytest.raises(TypeError, match=r"expected at most 5 positional arguments \(q, k, v, g, beta\), got 6"):
        gdr(*gated_delta_inputs(), 1.0)
    with pytest.raises(TypeError, match="argument 'q' is given twice"):
        gdr(*gated_delta_inputs(), q=1.0)


def test_other_devices_are_named():
    class Elsewhere:
        pass

    from fla.lang.calls import _check_place
    x = Elsewhere()
    x.device, x.layout, x.dtype = torch.device("xpu:0"), torch.strided, torch.float32
    with pytest.raises(ValueError, match="expected a tensor on the CPU or on a CUDA or ROCm GPU, got one on xpu:0"):
        _check_place("gdr: argument 'q'", x)
