"""Layers against plain PyTorch that says what they compute, token by token."""
import pytest
import torch
import torch.nn.functional as F
from layer_cases import WIDTH, make

from fla.layers.utils import get_unpad_data, index_first_axis, pad_input, unpad_input


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def rms(x, weight=None, eps=1e-5):
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return x if weight is None else x * weight


def causal_conv(conv, x, activation=F.silu):
    """A depthwise convolution of [B, T, D] over the last tokens."""
    y = F.conv1d(F.pad(x.transpose(1, 2), (conv.kernel_size[0] - 1, 0)), conv.weight, conv.bias, groups=x.shape[-1])
    return activation(y.transpose(1, 2))


@torch.no_grad()
def test_gated_linear_attention():
    layer = make("GatedLinearAttention", num_kv_heads=None, use_short_conv=False)
    x = torch.randn(2, 9, WIDTH)
    q, k, v = (p(x).unflatten(-1, (4, -1)) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    decay = torch.sigmoid(layer.gk_proj(x)).pow(1 / 16).unflatten(-1, (4, -1))
    state, outputs = torch.zeros(2, 4, q.shape[-1], v.shape[-1]), []
    for t in range(9):
        state = decay[:, t, :, :, None] * state + k[:, t, :, :, None] * v[:, t, :, None]
        outputs.append((state * q[:, t, :, :, None]).sum(-2) * q.shape[-1] ** -0.5)
    o = rms(torch.stack(outputs, 1), layer.g_norm_swish_gate.weight)
    want = layer.o_proj((o * F.silu(layer.g_proj(x)).unflatten(-1, (4, -1))).flatten(-2))
    assert torch.allclose(layer(x)[0], want, atol=1e-5)


def gated_delta(q, k, v, decay, beta):
    """[B, T, H, .]: one token after the other, with q and k of unit length."""
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    state, outputs = q.new_zeros(*q.shape[:1], *q.shape[2:], v.shape[-1]), []
    for t in range(q.shape[1]):
        state = state * decay[:, t, :, None, None]
        error = v[:, t] - (state * k[:, t, :, :, None]).sum(-2)
        state = state + k[:, t, :, :, None] * (beta[:, t, :, None] * error)[:, :, None]
        outputs.append((state * q[:, t, :, :, None]).sum(-2) * q.shape[-1] ** -0.5)
    return torch.stack(outputs, 1)


@torch.no_grad()
def test_gated_deltanet():
    layer = make("GatedDeltaNet", allow_neg_eigval=True)
    x = torch.randn(2, 9, WIDTH)
    q, k, v = (causal_conv(c, p(x)) for c, p in ((layer.q_conv1d, layer.q_proj), (layer.k_conv1d, layer.k_proj),
                                                (layer.v_conv1d, layer.v_proj)))
    q, k = (y.unflatten(-1, (2, 16)).repeat_interleave(2, 2) for y in (q, k))
    decay = torch.exp(-layer.A_log.exp() * F.softplus(layer.a_proj(x) + layer.dt_bias))
    o = gated_delta(q, k, v.unflatten(-1, (4, 32)), decay, 2 * torch.sigmoid(layer.b_proj(x)))
    gate = layer.g_proj(x).unflatten(-1, (4, 32))
    want = layer.o_proj((rms(o, layer.o_norm.weight) * F.silu(gate)).flatten(-2))
    assert torch.allclose(layer(x)[0], want, atol=1e-4)


@torch.no_grad()
def test_mamba():
    layer = make("Mamba")
    x = torch.randn(2, 9, WIDTH)
    u, gate = layer.in_proj(x).chunk(2, -1)
    u = causal_conv(layer.conv1d, u)
    step, B, C = layer.x_proj(u).split([layer.dt_rank, 8, 8], -1)
    delta, A = F.softplus(layer.dt_proj(step)), -layer.A_log.exp()
    h, outputs = torch.zeros(2, 96, 8), []
    for t in range(9):
        h = torch.exp(delta[:, t, :, None] * A) * h + (delta[:, t] * u[:, t])[..., None] * B[:, t, None]
        outputs.append((h * C[:, t, None]).sum(-1) + layer.D * u[:, t])
    want = layer.out_proj(torch.stack(outputs, 1) * F.silu(gate))
    assert torch.allclose(layer(x)[0], want, atol=1e-5)


@torch.no_grad()
def test_mamba2():
    layer = make("Mamba2", D_has_hdim=False)
    x = torch.randn(2, 9, WIDTH)
    z, xBC, dt = layer.in_proj(x).split([128, 160, 8], -1)
    u, B, C = causal_conv(layer.conv1d, xBC).split([128, 16, 16], -1)
    u = u.unflatten(-1, (8, 16))
    B, C = (y.unflatten(-1, (2, 8)).repeat_interleave(4, 2) for y in (B, C))
    dt = F.softplus(dt + layer.dt_bias)
    h, outputs = torch.zeros(2, 8, 16, 8), []
    for t in range(9):
        h = torch.exp(-dt[:, t] * layer.A_log.exp())[..., None, None] * h \
            + (dt[:, t, :, None] * u[:, t])[..., None] * B[:, t, :, None]
        outputs.append((h * C[:, t, :, None]).sum(-1) + layer.D[:, None] * u[:, t])
    y = torch.stack(outputs, 1).flatten(-2) * F.silu(z)
    want = layer.out_proj(rms(y.unflatten(-1, (2, 64))).flatten(-2) * layer.norm.weight)
    assert torch.allclose(layer(x)[0], want, atol=1e-5)


@torch.no_grad()
def test_a_mixture_of_memories():
    """Each memory is a gated delta rule over the tokens that chose it."""
    layer = make("MomAttention", num_memories=3, expand_v=1)
    x = torch.randn(1, 11, WIDTH)
    weights, chosen = torch.topk(torch.softmax(layer.gate(x[0]), -1), 2, -1)
    weights = weights / weights.sum(-1, keepdim=True)

    def memory(x, k, v, b, a):
        q, k, v = (causal_conv(c, p(x)).unflatten(-1, (2, 16)) for c, p in (
            (layer.q_conv1d, layer.q_proj), (layer.k_conv1d, k), (layer.v_conv1d, v)))
        decay = torch.exp(-layer.A_log.exp() * F.softplus(a(x) + layer.dt_bias))
        return gated_delta(q, k, v, decay, torch.sigmoid(b(x)))
    o = memory(x, layer.shared_k, layer.shared_v, layer.shared_b, layer.shared_a)
    for m in range(3):
        took = (chosen == m).any(-1)
        if took.any():
            own = memory(x[:, took], layer.k_proj[m], layer.v_proj[m], layer.b_proj[m], layer.a_proj[m])
            o[:, took] += own * (weights * (chosen == m)).sum(-1)[took][:, None, None]
    o = rms(o, layer.o_norm.weight) * F.silu(layer.g_proj(x)).unflatten(-1, (2, 16))
    assert torch.allclose(layer(x)[0], layer.o_proj(o.flatten(-2)), atol=1e-4)


def rotated(x, positions, base=10000.0):
    """[B, T, H, D] with rotary positions, halves of a head as real and imaginary parts."""
    half = x.shape[-1] // 2
    angle = positions[:, None] * base ** -(torch.arange(half) / half)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


@pytest.mark.parametrize("window", [None, 4])
@torch.no_grad()
def test_attention(window):
    layer = make("Attention", window_size=window, qk_norm=False, qkv_bias=False)
    x, positions = torch.randn(2, 9, WIDTH), torch.arange(9.0)
    q, k, v = (p(x).unflatten(-1, (-1, 16)) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    q, k = rotated(q, positions), rotated(k, positions)
    k, v = k.repeat_interleave(2, 2), v.repeat_interleave(2, 2)
    scores = torch.einsum("bthd,bshd->bhts", q, k) / 4
    distance = positions[:, None] - positions
    seen = (distance >= 0) & (distance < (window or 99))
    o = torch.einsum("bhts,bshd->bthd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v)
    assert torch.allclose(layer(x)[0], layer.o_proj(o.flatten(-2)), atol=1e-5)


def test_rows_without_padding_and_back():
    mask = torch.tensor([[0, 1, 1], [1, 0, 1]])
    indices, cu_seqlens, longest = get_unpad_data(mask)
    assert (indices.tolist(), cu_seqlens.tolist(), longest) == ([1, 2, 3, 5], [0, 2, 4], 2)
    x = torch.randn(2, 3, 4, requires_grad=True)
    packed = index_first_axis(x.flatten(0, 1), indices)
    back = pad_input(packed, indices, 2, 3)
    assert torch.equal(back, x * mask[..., None])
    back.sum().backward()
    assert torch.equal(x.grad, mask[..., None].expand_as(x).float())
    q, (k,), at, (cu_q, cu_k), (long_q, long_k) = unpad_input(x[:, -1:], (x,), mask, 1)
    assert q.shape == (2, 4) and k.shape == (4, 4) and cu_q.tolist() == [0, 1, 2] and (long_q, long_k) == (1, 2)
    assert torch.equal(pad_input(q, at, 2, 1), x[:, -1:])
    with pytest.raises(NotImplementedError, match="prefill"):
        unpad_input(x[:, :2], (x,), mask, 2)
