"""Convolutions against a loop over tokens, for batches, packed sequences, states in and out, one token at a time."""

import sys

import pytest
import torch
import torch.nn.functional as F

from fla.modules import ImplicitLongConvolution, LongConvolution, ShortConvolution
from fla.modules.conv.long_conv import fft_conv
from fla.modules.convolution import (
    causal_conv1d,
    causal_conv1d_update,
    causal_conv1d_update_cuda,
    causal_conv1d_update_states,
)

causal, compiled = (sys.modules[f"fla.modules.conv.{name}"] for name in ("causal_conv1d", "_compiled"))
BOUNDS = [0, 0, 3, 4, 4, 11]  # sequences of 0, 3, 1, 0 and 7 tokens


def count_calls(monkeypatch):
    """A list that grows by one with each convolution that the definition computes."""
    calls, real = [], compiled.convolve_compiled
    monkeypatch.setattr(causal, "convolve_compiled", lambda *given: calls.append(given) or real(*given))
    return calls


def loop(x, weight, bias, state, activation):
    """One sequence ``x [T, D]`` after ``state [D, W]``: y [T, D] and the state after it, token by token."""
    out, window = [], list(state.unbind(-1))
    for token in x.unbind(0):
        window = window[1:] + [token]
        y = sum(w * v for w, v in zip(weight.unbind(-1), window)) + (0 if bias is None else bias)
        out.append(y if activation is None else y / (1 + torch.exp(-y)))
    return torch.stack(out) if out else x, torch.stack(window, -1)


def make(n, t, d, w, batch=1, dtype=torch.float64):
    torch.manual_seed(0)
    return (torch.randn(batch, t, d, dtype=dtype), torch.randn(d, w, dtype=dtype), torch.randn(d, dtype=dtype),
            torch.randn(n, d, w, dtype=dtype))


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("rows", [0, 1, 2, 9])
@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("activation", [None, "swish"])
def test_a_batch(width, rows, has_state, activation):
    x, weight, bias, state = make(2, rows, 5, width, batch=2)
    y, final = causal_conv1d(x, weight, bias, initial_state=state if has_state else None, output_final_state=True,
                             activation=activation)
    for b in range(2):
        ry, rfinal = loop(x[b], weight, bias, state[b] if has_state else torch.zeros_like(state[b]), activation)
        torch.testing.assert_close(y[b], ry)
        torch.testing.assert_close(final[b], rfinal)


@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_packed_sequences(width, has_state, dtype):
    x, weight, bias, state = make(5, 11, 4, width)
    residual = torch.randn_like(x)
    y, final = causal_conv1d(x, weight, bias, residual, state if has_state else None, True, "silu",
                             cu_seqlens=torch.tensor(BOUNDS, dtype=dtype))
    for n, (start, end) in enumerate(zip(BOUNDS, BOUNDS[1:])):
        before = state[n] if has_state else torch.zeros_like(state[n])
        ry, rfinal = loop(x[0, start:end], weight, bias, before, "silu")
        torch.testing.assert_close(y[0, start:end], ry + residual[0, start:end])
        torch.testing.assert_close(final[n], rfinal)


def test_rows_past_the_last_boundary_reach_no_sequence():
    x, weight, bias, _ = make(2, 8, 3, 4)
    cu_seqlens = torch.tensor([0, 2, 5])
    y, final = causal_conv1d(x, weight, bias, output_final_state=True, cu_seqlens=cu_seqlens)
    changed = x.clone()
    changed[:, 5:] = 100.0
    y2, final2 = causal_conv1d(changed, weight, bias, output_final_state=True, cu_seqlens=cu_seqlens)
    assert torch.equal(y[:, :5], y2[:, :5]) and torch.equal(final, final2)
    assert torch.isfinite(y).all()


def test_seq_idx_is_another_way_to_give_boundaries():
    x, weight, bias, _ = make(3, 9, 3, 4)
    ids = torch.tensor([[7, 7, 2, 2, 2, 2, 3, 3, 3]])
    expected = causal_conv1d(x, weight, bias, cu_seqlens=torch.tensor([0, 2, 6, 9]))[0]
    assert torch.equal(causal_conv1d(x, weight, bias, backend="cuda", seq_idx=ids)[0], expected)


@pytest.mark.parametrize("activation", [None, "swish"])
@pytest.mark.parametrize("packed", [False, True])
def test_gradients_by_finite_differences(activation, packed):
    x, weight, bias, state = (t.requires_grad_() for t in make(5 if packed else 2, 11 if packed else 3, 2, 3,
                                                                batch=1 if packed else 2))
    residual = torch.randn_like(x).requires_grad_()
    cu_seqlens = torch.tensor(BOUNDS) if packed else None

    def convolve(x, weight, bias, residual, state):
        return causal_conv1d(x, weight, bias, residual, state, True, activation, cu_seqlens=cu_seqlens)

    assert torch.autograd.gradcheck(convolve, (x, weight, bias, residual, state))
    assert torch.autograd.gradgradcheck(lambda x, w, b: causal_conv1d(x, w, b, activation=activation)[0],
                                        (x[:, :3], weight, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("has_rest", [False, True])  # a state, a bias and a residual
def test_the_definition_takes_large_inputs_as_pytorch_does(dtype, packed, has_rest, monkeypatch):
    torch.manual_seed(0)
    n, t = (1, 2200) if packed else (2, 1100)
    x = torch.randn(n, t, 2, 64, dtype=dtype)
    rest = (torch.randn(128), torch.randn_like(x), torch.randn(2, 128, 4)) if has_rest else (None, None, None)
    given = x, torch.randn(128, 4), *rest
    cu_seqlens = torch.tensor([0, 1001, 2200]) if packed else None

    def run():
        x, weight, bias, residual, state = leaves = [v if v is None else v.clone().requires_grad_() for v in given]
        y, final = causal_conv1d(x, weight, bias, residual, state, True, "silu", cu_seqlens=cu_seqlens)
        (y.float().square().mean() + final.float().sum()).backward()
        return [y, final, *(v.grad for v in leaves if v is not None)]

    calls = count_calls(monkeypatch)
    got = run()
    assert len(calls) == 1
    monkeypatch.setattr(compiled, "is_faster", lambda *_: False)
    monkeypatch.setattr(causal, "is_faster", compiled.is_faster)
    for a, b in zip(got, run()):
        assert a.dtype == b.dtype and a.shape == b.shape
        error = (a.double() - b.double()).norm() / b.double().norm()
        assert error < (1e-5 if dtype == torch.float32 else 5e-3)


def test_what_the_definition_leaves_to_pytorch():
    x, weight = torch.zeros(1, 4096, 64), torch.zeros(64, 4)
    assert compiled.is_faster(x, weight, "silu", 1)
    assert not compiled.is_faster(x, weight, None, 1)
    assert not compiled.is_faster(x, weight[:, :3], "silu", 1)
    assert not compiled.is_faster(x, weight, "silu", 4096)  # sequences of one token
    assert not compiled.is_faster(x[:, :1024], weight, "silu", 1)
    assert not compiled.is_faster(x[..., :40], weight[:40], "silu", 1)
    assert not compiled.is_faster(x.double(), weight, "silu", 1)
    assert not compiled.is_faster(x.to("meta"), weight, "silu", 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_inside(dtype):
    x, weight, bias, state = (t.to(dtype) for t in make(2, 20, 8, 4, batch=2))
    x.requires_grad_()
    y, final = causal_conv1d(x, weight, bias, initial_state=state, output_final_state=True, activation="silu")
    ref, _ = causal_conv1d(*(t.float() for t in (x, weight, bias)), initial_state=state.float(), activation="silu")
    assert torch.equal(y, ref.to(dtype)) and final.dtype == dtype
    y.sum().backward()
    assert x.grad.dtype == dtype


def test_only_the_input_is_kept_for_the_backward_pass():
    held = []

    def hold(t):
        held.append(t)
        return t

    x, weight, bias, _ = (t.to(torch.bfloat16).requires_grad_() for t in make(1, 64, 8, 4))
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda t: t):
        causal_conv1d(x, weight, bias, activation="silu")
    assert {t.data_ptr() for t in held} == {t.data_ptr() for t in (x, weight, bias)}


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("prompt", [1, 2, 3, 8])
def test_prompt_and_then_token_by_token_is_the_whole_sequence(has_bias, prompt):
    torch.manual_seed(1)
    m = ShortConvolution(6, 4, bias=has_bias)
    x, residual = torch.randn(2, 12, 6), torch.randn(2, 12, 6)
    whole, final = m(x, residual, output_final_state=True)
    with torch.no_grad():
        y, cache = m(x[:, :prompt], residual[:, :prompt], output_final_state=True)
        parts = [y]
        for t in range(prompt, 12):
            held = cache.data_ptr()
            y, cache = m(x[:, t:t + 1], residual[:, t:t + 1], cache=cache, output_final_state=True)
            assert cache.data_ptr() == held, "the cache of one token is updated in place"
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole.detach())
    torch.testing.assert_close(cache, final.detach())


def test_one_token_for_each_packed_sequence_updates_the_cache_in_place():
    m, x, cache = ShortConvolution(6, 4), torch.randn(1, 3, 6), torch.randn(3, 6, 4)
    expected = [causal_conv1d_update(x[0, n:n + 1], cache[n:n + 1].clone(), weight=m.weight.squeeze(1),
                                     activation="silu") for n in range(3)]
    with torch.no_grad():
        y, after = m(x, cache=cache, output_final_state=True, cu_seqlens=torch.arange(4))
    assert after is cache
    torch.testing.assert_close(y[0], torch.cat([e[0] for e in expected]))
    torch.testing.assert_close(cache, torch.cat([e[1] for e in expected]))


def test_as_many_tokens_as_sequences_need_not_be_one_each():
    """Lengths 0, 2, 1: three tokens and three sequences, and yet no step of one token each."""
    torch.manual_seed(2)
    m, x, cache = ShortConvolution(4, 3), torch.randn(1, 3, 4), torch.randn(3, 4, 3)
    y, final = m(x, cache=cache.clone(), output_final_state=True, cu_seqlens=torch.tensor([0, 0, 2, 3]))
    two, _ = loop(x[0, :2], m.weight.squeeze(1), None, cache[1], "silu")
    one, _ = loop(x[0, 2:], m.weight.squeeze(1), None, cache[2], "silu")
    torch.testing.assert_close(y[0], torch.cat([two, one]))
    torch.testing.assert_close(final[0], cache[0])


def test_the_single_token_step_has_gradients():
    torch.manual_seed(3)
    x, cache = torch.randn(2, 1, 3, requires_grad=True), torch.randn(2, 3, 4, requires_grad=True)
    m = ShortConvolution(3, 4, bias=True)
    y, state = m(x, cache=cache, output_final_state=True)
    ry, rstate = causal_conv1d(x, m.weight.squeeze(1), m.bias, initial_state=cache, output_final_state=True,
                               activation="silu")
    dy, ds = torch.randn_like(y), torch.randn_like(state)
    inputs = (x, cache, *m.parameters())
    for got, expected in zip(torch.autograd.grad((y, state), inputs, (dy, ds)),
                             torch.autograd.grad((ry, rstate), inputs, (dy, ds))):
        torch.testing.assert_close(got, expected)


def test_shapes_that_the_step_takes():
    x, weight, bias, state = make(3, 1, 6, 4, batch=3)
    ref, after = causal_conv1d_update(x[:, 0], state.clone(), weight=weight, bias=bias, activation="silu")
    for shape in ((3, 1, 6), (1, 3, 6), (3, 1, 2, 3)):
        y, cache = causal_conv1d_update(x.reshape(shape), state.clone(), weight=weight, bias=bias, activation="silu")
        assert y.shape == shape and torch.equal(y.reshape(3, 6), ref) and torch.equal(cache, after)
    held = state.clone()
    assert torch.equal(causal_conv1d_update_cuda(x[:, 0], held, weight, bias, "silu"), ref)
    assert torch.equal(held, after)
    held = state[..., 1:].clone()  # the package causal-conv1d keeps W-1 columns
    tokens = torch.randn(3, 6, 2, dtype=torch.float64)
    y = causal_conv1d_update_cuda(tokens, held, weight, bias, "silu")
    expected, final = causal_conv1d(tokens.transpose(1, 2), weight, bias, initial_state=state,
                                    output_final_state=True, activation="silu")
    torch.testing.assert_close(y.transpose(1, 2), expected)
    torch.testing.assert_close(held, final[..., 1:])


def test_heads_are_channels():
    x, weight, bias, _ = make(2, 5, 6, 3, batch=2)
    y, _ = causal_conv1d(x.view(2, 5, 2, 3), weight, bias)
    assert torch.equal(y.reshape(2, 5, 6), causal_conv1d(x, weight, bias)[0])


def test_a_state_of_one_column_less_is_enough():
    x, weight, bias, state = make(2, 5, 6, 4, batch=2)
    full, final = causal_conv1d(x, weight, bias, initial_state=state, output_final_state=True)
    y, short = causal_conv1d(x, weight, bias, initial_state=state[..., 1:], output_final_state=True)
    assert torch.equal(full, y) and torch.equal(final, short)


def test_states_alone():
    x, _, _, state = make(5, 11, 4, 3)
    after = causal_conv1d_update_states(x, 3, state, torch.tensor(BOUNDS))
    for n, (start, end) in enumerate(zip(BOUNDS, BOUNDS[1:])):
        assert torch.equal(after[n], torch.cat([state[n], x[0, start:end].T], 1)[:, -3:])
    assert torch.equal(causal_conv1d_update_states(x, 3)[0], x[0, -3:].T)


def test_a_mask_multiplies_the_input_and_leaves_it_as_it_was():
    m, x = ShortConvolution(4, 3), torch.randn(2, 5, 4)
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    before = x.clone()
    y, _ = m(x, mask=mask)
    assert torch.equal(x, before)
    assert torch.equal(y, m(x * mask[..., None])[0])


@pytest.mark.parametrize("call, error, message", [
    (lambda: causal_conv1d(torch.zeros(1, 3, 4)), ValueError, r"weight of shape \[D, W\], got None"),
    (lambda: causal_conv1d(torch.zeros(1, 3, 4), torch.zeros(5, 2)), ValueError, r"\[B, T, 5\].*got \(1, 3, 4\)"),
    (lambda: causal_conv1d(torch.zeros(1, 3, 4), torch.zeros(4, 2), torch.zeros(3)), ValueError, "bias of shape"),
    (lambda: causal_conv1d(torch.zeros(1, 3, 4), torch.zeros(4, 2), activation="relu"), ValueError, "'relu'"),
    (lambda: causal_conv1d(torch.zeros(2, 3, 4), torch.zeros(4, 2), cu_seqlens=torch.tensor([0, 3])), ValueError,
     "batch size of 1 when cu_seqlens is given, got 2"),
    (lambda: causal_conv1d(torch.zeros(1, 3, 4), torch.zeros(4, 2), cu_seqlens=torch.tensor([0, 4])), ValueError,
     r"at most T=3, got \[0, 4\]"),
    (lambda: causal_conv1d(torch.zeros(1, 3, 4), torch.zeros(4, 2), cu_seqlens=torch.tensor([0., 3.])), ValueError,
     "int32 or int64"),
    (lambda: causal_conv1d(torch.zeros(2, 3, 4), torch.zeros(4, 3), initial_state=torch.zeros(1, 4, 3)), ValueError,
     r"state of shape \[2, 4, 3\], got \(1, 4, 3\)"),
    (lambda: causal_conv1d(torch.zeros(1, 3, 4), torch.zeros(4, 2), cp_context=object()), NotImplementedError,
     "cp_context=None"),
    (lambda: causal_conv1d(torch.zeros(1, 3, 4), torch.zeros(4, 2), head_first=True), TypeError, "head_first"),
    (lambda: ShortConvolution(4, 2, activation="relu"), ValueError, "'relu'"),
    (lambda: ShortConvolution(4, 2, backend="metal"), ValueError, "'metal'"),
    (lambda: ShortConvolution(4, 2, speed=3), TypeError, "speed"),
    (lambda: ShortConvolution(4, 2)(torch.zeros(1, 3, 4), mask=torch.ones(1, 3), cu_seqlens=torch.tensor([0, 3])),
     ValueError, "mask or cu_seqlens, got both"),
])
def test_arguments_that_do_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()


def direct(u, k):
    """u + sum_s k[s] u[t-s], by the definition."""
    length = u.shape[-1]
    out = u.clone()
    for t in range(length):
        for s in range(min(t + 1, k.shape[-1])):
            out[..., t] += k[..., s] * u[..., t - s]
    return out


@pytest.mark.parametrize("taps", [3, 7, 12, 20])
def test_long_convolutions_are_causal_sums(taps):
    torch.manual_seed(4)
    u, k = torch.randn(2, 3, 7, dtype=torch.float64), torch.randn(3, taps, dtype=torch.float64)
    torch.testing.assert_close(fft_conv(u, k, None, gelu=False), direct(u, k))
    mask = torch.tensor([[1., 0, 1], [0, 1, 1]], dtype=torch.float64)
    torch.testing.assert_close(fft_conv(u, k, mask), F.gelu(direct(u, k)) * mask[..., None])


def test_long_convolution_modules():
    torch.manual_seed(5)
    x = torch.randn(2, 7, 3)
    m = LongConvolution(3, 16)
    torch.testing.assert_close(m(x), direct(x.mT, m.filter.detach()).mT, atol=1e-5, rtol=1e-4)
    m = ImplicitLongConvolution(3, 16, d_emb=5)
    k = m.filter(7)
    assert k.shape == (1, 3, 7) and m.pos_emb.z.shape == (1, 16, 5)
    torch.testing.assert_close(m(x), direct(x.mT, k.detach()).mT, atol=1e-5, rtol=1e-4)
    assert m(x.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="odd d_emb|odd emb_dim"):
        ImplicitLongConvolution(3, 16, d_emb=4)
