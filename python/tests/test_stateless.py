"""Steps without a state: every token by itself, in all forms, with gradients, packed, compiled and inside other steps."""

import pytest
import torch
import torch.nn.functional as F
from helpers import compare

from fla.lang import Param, State, Vec, mean, recurrence, rsqrt, silu


@recurrence
def gated(x: Vec["D"], g: Vec["D"], w: Param["D"] | None = None, *, eps: float = 1e-5):
    y = x * rsqrt(mean(x * x) + eps)
    return (y if w is None else y * w) * silu(g)


@recurrence
def alone(x: Vec["D"]):
    return silu(x)


def make(T, H=3, D=16, dtype=torch.float64):
    torch.manual_seed(0)
    tensors = torch.randn(2, T, H, D, dtype=dtype), torch.randn(2, T, H, D, dtype=dtype), torch.randn(H, D, dtype=dtype)
    return [t.requires_grad_() for t in tensors]


def expected(x, g, w):
    return F.rms_norm(x, x.shape[-1:], None, 1e-5) * w * F.silu(g)


@pytest.mark.parametrize("form", ["auto", "chunk", "recurrent"])
@pytest.mark.parametrize("T", [0, 1, 7, 100])
def test_forward_and_gradients(T, form):
    given = make(T)
    o, final = gated(*given, form=form, output_final_state=True)
    want = expected(*given)
    assert final is None
    torch.testing.assert_close(o, want)
    got = torch.autograd.grad(o.square().sum(), given)
    torch.testing.assert_close(got, torch.autograd.grad(want.square().sum(), given))


def test_a_single_argument_and_result():
    x = make(70)[0]
    o, _ = alone(x)
    torch.testing.assert_close(o, F.silu(x))
    torch.testing.assert_close(torch.autograd.grad(o.sum(), x), torch.autograd.grad(F.silu(x).sum(), x))


def test_against_the_token_loop():
    compare(gated, [t.detach()[:1] for t in make(70)[:2]] + [make(70)[2].detach()])


def test_packed_rows_past_the_last_sequence_are_zero():
    x, g, w = make(100)
    o, _ = gated(x[:1], g[:1], w, cu_seqlens=torch.tensor([0, 5, 5, 70]))
    torch.testing.assert_close(o[:, :70], expected(x, g, w)[:1, :70])
    assert not o[:, 70:].any()


def test_under_torch_compile():
    given = make(20, dtype=torch.float32)
    compiled = torch.compile(lambda *t: 2 * gated(*t)[0], fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*given), 2 * expected(*given))


def test_inside_another_step():
    @recurrence
    def summed(S: State["D"], x: Vec["D"], g: Vec["D"]):
        S = S + gated(x, g)
        return S, S

    x, g, _ = make(70)
    o, _ = summed(x, g)
    torch.testing.assert_close(o, expected(x, g, 1).cumsum(1))


def test_what_is_refused():
    x, g, _ = make(4)
    with pytest.raises(ValueError, match="expected 0 states"):
        gated(x, g, initial_state=x)

    @recurrence
    def nothing(x: Vec["D"]):
        pass

    with pytest.raises(ValueError, match="at least one output: return o"):
        nothing(x)


def test_equations_and_classes():
    assert repr(alone) == "alone(x)\n  o = x * sigmoid(x)"
    assert alone.describe()["states"] == [] and "scf.for" not in alone.mlir("kernelize", direction="forward", dims={"D": 64})
