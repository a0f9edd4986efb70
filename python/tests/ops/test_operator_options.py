"""What the operators do beside their recurrence: flags, layouts of states, directions, scores, parts of models."""

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_close, error, leaf
from operator_cases import CASES, H, K, V, gate, gdn_inputs, kda_inputs, precond_inputs, rand, randn, unit

from fla import ops
from fla.ops import abc, attn, gated_delta_rule, gated_oja_rule, gdn2, generalized_delta_rule, gla, kda, precond_kda, rwkv7
from fla.ops.common import chunk_scaled_dot_kkt, fused_chunk, fused_recurrent

T = 21


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def grads(results, leaves):
    r = rng(9)
    total = sum((x.double() * torch.randn(x.shape, generator=r, dtype=torch.float64)).sum() for x in results)
    return torch.autograd.grad(total, leaves, retain_graph=True)


def same(got, want, leaves, forward=1e-9, backward=1e-8):
    """Results and gradients of two computations on the same leaves."""
    for a, b in zip(got, want):
        assert error(a, b) <= forward, error(a, b)
    for a, b in zip(grads(got, leaves), grads(want, leaves)):
        assert error(a, b) <= backward, error(a, b)


def l2norm(x):
    return x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt()


def leaves_of(inputs):
    return {n: leaf(x) for n, x in inputs.items()}


@pytest.mark.parametrize("op", [ops.chunk_gated_delta_rule, ops.fused_recurrent_gated_delta_rule])
def test_gated_delta_rule_normalises_and_makes_gates_and_rates_of_logits(op):
    r = rng()
    x = leaves_of({**gdn_inputs(r, 2, T), "k": randn(r, 2, T, H, K), "g": randn(r, 2, T, 2 * H), "beta": randn(r, 2, T, 2 * H),
                   "A_log": randn(r, 2 * H), "dt_bias": randn(r, 2 * H)})
    got = op(**x, output_final_state=True, use_qk_l2norm_in_kernel=True, use_gate_in_kernel=True,
             use_beta_sigmoid_in_kernel=True, allow_neg_eigval=True)
    g = gated_delta_rule.gate.fused_gdn_gate(x["g"], x["A_log"], x["dt_bias"], torch.float64)
    want = gated_delta_rule.naive_recurrent_gated_delta_rule(l2norm(x["q"]), l2norm(x["k"]), x["v"], 2 * x["beta"].sigmoid(), g,
                                                             output_final_state=True)
    same(got, want, list(x.values()))


@pytest.mark.parametrize("lower_bound, with_A", [(None, True), (-5.0, True), (-5.0, False)])
@pytest.mark.parametrize("op", [ops.chunk_kda, ops.fused_recurrent_kda])
def test_kda_normalises_and_makes_gates_and_rates_of_logits(op, lower_bound, with_A):
    r = rng(1)
    x = leaves_of({**kda_inputs(r, 1, T), "k": randn(r, 1, T, H, K), "g": randn(r, 1, T, 2 * H, K), "beta": randn(r, 1, T, 2 * H),
                   "dt_bias": randn(r, 2 * H * K), **({"A_log": 0.3 * randn(r, 2 * H)} if with_A else {})})
    got = op(**x, output_final_state=True, use_qk_l2norm_in_kernel=True, use_gate_in_kernel=True, lower_bound=lower_bound,
             use_beta_sigmoid_in_kernel=True)
    g = kda.gate.fused_kda_gate(x["g"], x.get("A_log"), x["dt_bias"], lower_bound, torch.float64)
    want = kda.naive.naive_recurrent_kda(l2norm(x["q"]), l2norm(x["k"]), x["v"], g, x["beta"].sigmoid(), output_final_state=True)
    same(got, want, list(x.values()))
    if lower_bound:
        assert (g >= lower_bound).all() and (g <= 0).all()


def test_the_gate_as_checkpoints_of_2025_call_it():
    r = rng(21)
    g, A_log, bias = randn(r, 1, T, H, K), randn(r, H), randn(r, H * K)
    want = kda.gate.fused_kda_gate(g, A_log, bias)
    assert torch.equal(kda.gate.fused_kda_gate(g.flatten(2), A_log.view(1, 1, H, 1), K, g_bias=bias), want)
    with pytest.raises(ValueError, match="expected A_log, or lower_bound"):
        kda.gate.fused_kda_gate(g)


def test_gdn2_and_precond_kda_make_gates_of_logits():
    r = rng(2)
    g, A_log, dt_bias = randn(r, 1, T, H, K), randn(r, H), randn(r, H * K)
    made = kda.gate.naive_kda_gate(g, A_log, dt_bias, torch.float64)
    q, k, v = randn(r, 1, T, H, K), unit(r, 1, T, H, K), randn(r, 1, T, H, V)
    b, w = rand(r, 1, T, H, K), rand(r, 1, T, H, V)
    options = dict(use_gate_in_kernel=True, A_log=A_log, dt_bias=dt_bias)
    for op in (gdn2.chunk_gdn2, gdn2.fused_recurrent_gdn2):
        assert_close(op(q, k, v, g, b, w, **options)[0], op(q, k, v, made, b, w)[0], 1e-12)
    rates = (gate(r, 1, T, H), rand(r, 1, T, H), rand(r, 1, T, H))
    for op in (precond_kda.chunk_precond_kda, precond_kda.fused_recurrent_precond_kda):
        assert_close(op(q, k, v, g, *rates, **options)[0], op(q, k, v, made, *rates)[0], 1e-12)


def test_preconditioned_operators_normalise_by_default():
    r = rng(3)
    x = {**precond_inputs(r, 1, T), "q": randn(r, 1, T, H, K), "k": randn(r, 1, T, H, K)}
    want, *_ = ops.fused_recurrent_precond_gated_delta_rule(**{**x, "q": l2norm(x["q"]), "k": l2norm(x["k"])},
                                                            use_qk_l2norm_in_kernel=False)
    assert_close(ops.chunk_precond_gated_delta_rule(**x)[0], want, 1e-9)
    naive, *_ = ops.precond_gated_delta_rule.naive_recurrent_precond_gated_delta_rule(**x)
    assert_close(want, naive, 1e-6)  # it adds nothing under the root


def test_preconditioned_rule_with_a_gate_a_channel_or_none():
    r = rng(4)
    x = precond_inputs(r, 1, T)
    x = {**x, "v": x["v"][:, :, :H], "beta": x["beta"][:, :, :H]}
    rest = {n: x[n] for n in ("q", "k", "v", "beta", "g_atk", "beta_atk", "log_atk_scale")}
    gk = gate(r, 1, T, H, K)
    got, *_ = ops.fused_recurrent_precond_gated_delta_rule(**rest, gk=gk)
    assert_close(got, ops.chunk_precond_kda(**rest, g=gk)[0], 1e-9)
    ungated, *_ = ops.fused_recurrent_precond_gated_delta_rule(**rest)
    assert_close(ungated, ops.chunk_precond_gated_delta_rule(**rest, g=torch.zeros_like(x["beta"]))[0], 1e-9)


def test_oja_rule_normalises_each_of_q_and_k():
    r = rng(5)
    q, k, v = randn(r, 1, T, H, K), randn(r, 1, T, H, K), unit(r, 1, T, H, V)
    gv, beta = gate(r, 1, T, H, V), rand(r, 1, T, H)
    for op in (gated_oja_rule.chunk_gated_oja_rule, gated_oja_rule.fused_recurrent_gated_oja_rule):
        assert_close(op(q, k, v, gv, beta, use_q_l2norm=True)[0], op(l2norm(q), k, v, gv, beta)[0], 1e-10)
        assert_close(op(q, k, v, gv, beta, use_k_l2norm=True)[0], op(q, l2norm(k), v, gv, beta)[0], 1e-10)
        assert_close(op(q, k, v, gv, beta, use_qk_l2norm_in_kernel=True)[0], op(l2norm(q), l2norm(k), v, gv, beta)[0], 1e-10)
    naive = gated_oja_rule.naive.naive_recurrent_gated_oja_rule
    ungated = gated_oja_rule.fused_recurrent_gated_oja_rule(q, k, v)[0]
    assert_close(ungated, naive(q, k, v, None, torch.ones(1, T, H, dtype=torch.float64))[0], 1e-9)


@pytest.mark.parametrize("name, form", [("simple_gla", "chunk"), ("simple_gla", "recurrent"), ("gla", "chunk"),
                                        ("gla", "recurrent"), ("retention", "chunk"), ("retention", "recurrent"),
                                        ("gated_delta_rule", "chunk"), ("gated_delta_rule", "recurrent"), ("kda", "chunk"),
                                        ("kda", "recurrent"), ("gdn2", "chunk"), ("gdn2", "recurrent")])
def test_states_can_be_stored_values_first(name, form):
    case, r = CASES[name], rng(6)
    x = case.inputs(r, 1, T)
    S = randn(r, 1, *case.states[0])
    call = case.forms[form]
    swapped = lambda t: t.transpose(-1, -2).contiguous()
    o, (final,) = call(x, [S], None)
    o2, (final2,) = call(x, [swapped(S)], None, state_v_first=True)
    assert_close(o2, o, 1e-12)
    assert_close(final2, swapped(final), 1e-12)
    with pytest.warns(DeprecationWarning, match="is now called state_v_first"):
        o3, _ = call(x, [swapped(S)], None, transpose_state_layout=True)
    assert torch.equal(o2, o3)
    with pytest.raises(ValueError, match="got both"):
        call(x, [S], None, state_v_first=True, transpose_state_layout=True)


@pytest.mark.parametrize("name", ["simple_gla", "gla", "retention", "lightning_attn", "linear_attn", "rwkv6", "gsa", "gsa ungated",
                                  "dplr_delta_rule", "rwkv7 with its removal key"])
@pytest.mark.parametrize("packed", [False, True], ids=["batch", "packed"])
def test_recurrences_run_backwards(name, packed):
    """From the last token to the first is the same as forwards on reversed tokens."""
    case, r = CASES[name], rng(7)
    x = case.inputs(r, 1 if packed else 2, T)
    offsets = torch.tensor([0, 4, 4, 5, 19]) if packed else None
    count = 4 if packed else 2
    states = [randn(r, count, *shape) for shape in case.states]
    bounds = offsets.tolist() if packed else [0, T]

    def turned(t):
        if t.dim() < 3:
            return t
        return torch.cat([*(t[:, a:b].flip(1) for a, b in zip(bounds, bounds[1:])), t[:, bounds[-1]:]], 1)

    call = case.forms.get("recurrent")
    o, finals = call({n: turned(t) for n, t in x.items()}, states, offsets)
    o2, finals2 = _reversed(name, x, states, offsets)
    assert_close(turned(o2), o, 1e-12)
    for a, b in zip(finals2, finals):
        assert_close(a, b, 1e-12)


def _reversed(name, x, states, offsets):
    start = states[0] if len(states) == 1 else tuple(states)
    common = dict(initial_state=start, output_final_state=True, reverse=True, cu_seqlens=offsets)
    call = {"simple_gla": ops.fused_recurrent_simple_gla, "gla": ops.fused_recurrent_gla,
            "retention": ops.fused_recurrent_retention, "linear_attn": ops.fused_recurrent_linear_attn,
            "lightning_attn": lambda **k: ops.fused_recurrent_lightning_attn(**k, layer_idx=3, num_layers=12),
            "rwkv6": ops.fused_recurrent_rwkv6, "gsa": ops.fused_recurrent_gsa, "gsa ungated": ops.fused_recurrent_gsa,
            "dplr_delta_rule": ops.fused_recurrent_dplr_delta_rule,
            "rwkv7 with its removal key": lambda **k: rwkv7.fused_mul_recurrent_rwkv7(**k, scale=None)}[name]
    o, final = call(**x, **common)
    return o, final if isinstance(final, tuple) else (final,)


@pytest.mark.parametrize("packed", [False, True], ids=["batch", "packed"])
def test_states_at_the_starts_of_chunks(packed):
    r = rng(8)
    x = kda_inputs(r, 1 if packed else 2, 100)
    offsets = torch.tensor([0, 40, 40, 100]) if packed else None
    S = randn(r, 3 if packed else 2, 2 * H, K, V)
    o, final, states = ops.chunk_kda(**x, initial_state=S, output_final_state=True, cu_seqlens=offsets, chunk_size=32,
                                     return_intermediate_states=True)
    assert states.dtype == torch.bfloat16 and states.shape == ((1, 4, 2 * H, K, V) if packed else (2, 4, 2 * H, K, V))
    cut = lambda a, b, n=slice(None): {name: t[n, a:b] for name, t in x.items()}
    if packed:  # two chunks of the first sequence, two of the last
        _, at_32 = ops.chunk_kda(**cut(0, 32), initial_state=S[:1], output_final_state=True)
        _, at_72 = ops.chunk_kda(**cut(40, 72), initial_state=S[2:], output_final_state=True)
        want = torch.cat((S[:1], at_32, S[2:], at_72))[None]
    else:
        _, at_64 = ops.chunk_kda(**cut(0, 64), initial_state=S, output_final_state=True)
        want, states = at_64, states[:, 2]
    assert_close(states.double(), want, 5e-3)
    assert_close(final, ops.fused_recurrent_kda(**x, initial_state=S, output_final_state=True, cu_seqlens=offsets)[1], 1e-9)


def test_bounded_memory_goes_on_as_if_it_had_not_been_cut():
    r = rng(9)
    x = CASES["abc"].inputs(r, 2, T)
    cut = lambda a, b: {n: t[:, a:b] for n, t in x.items()}
    whole, _ = abc.chunk_abc(**x)
    first, state = abc.chunk_abc(**cut(0, 8), output_final_state=True, return_normalizer=True)
    second, state = abc.chunk_abc(**cut(8, 9), initial_state=state, output_final_state=True)
    third, state = abc.chunk_abc(**cut(9, T), initial_state=state, output_final_state=True)
    assert len(state) == 3
    assert_close(torch.cat((first, second, third), 1), whole, 1e-9)
    assert_close(abc.naive.naive_cumsum_abc(*(t.transpose(1, 2) for t in x.values()))[0].transpose(1, 2), whole, 1e-9)


def test_attention_scores_are_given_when_asked_for():
    r = rng(10)
    x = leaves_of(CASES["simple_gla"].inputs(r, 2, T))
    o, A = ops.parallel_simple_gla(**x, output_attentions=True)
    want, want_A = ops.simple_gla.naive.naive_parallel_simple_gla(**x)
    assert_close(A.double(), want_A, 1e-6)
    assert_close(o, want, 1e-9)
    o, A = ops.parallel_retention(x["q"], x["k"], x["v"], output_attentions=True)
    assert_close(A.double() @ x["v"].transpose(1, 2), o.transpose(1, 2), 1e-6)
    x = CASES["delta_rule"].inputs(r, 2, T)
    o, A = ops.parallel_delta_rule(**x, output_attentions=True)
    assert_close(A.double() @ (x["beta"][..., None] * x["v"]).transpose(1, 2), o.transpose(1, 2), 1e-6)


def test_rebased_gives_its_sums():
    r = rng(11)
    x = CASES["rebased"].inputs(r, 2, T)
    o, z = ops.parallel_rebased(**x, return_both=True)
    assert o.shape == (2, H, T, V) and z.shape == (2, H, T)
    assert_close((o / (z[..., None] + 1e-5)).transpose(1, 2), ops.parallel_rebased(**x), 1e-9)
    assert_close(ops.parallel_rebased(**{**x, "q": x["q"] * K ** 0.5}, use_normalize=False),
                 ops.parallel_rebased(**{**x, "q": x["q"] * K}, use_scale=True, use_normalize=False) / K, 1e-9)


@pytest.mark.parametrize("options", [{}, {"g": True}, {"g": True, "do_gate_scale": True}, {"sink_bias": True}])
def test_attention_decodes_one_token_of_each_sequence(options):
    r = rng(12)
    offsets = torch.tensor([0, 5, 5, 12])
    q, k, v = randn(r, 1, 3, 2 * H, K), randn(r, 1, 12, H, K), randn(r, 1, 12, H, V)
    given = {**options, **({"g": gate(r, 1, 12, 2 * H)} if "g" in options else {}),
             **({"sink_bias": randn(r, 2 * H)} if "sink_bias" in options else {})}
    o = attn.decoding.attn_decoding_one_step(q, k, v, cu_seqlens=offsets, **given)
    assert_close(o, attn.naive_attn_decoding(q, k, v, cu_seqlens=offsets, **given), 1e-10)
    assert not o[:, 1].any()


def test_both_gates_of_the_common_recurrence():
    r = rng(13)
    q, k, v = randn(r, 1, T, H, K), randn(r, 1, T, H, K), randn(r, 1, T, H, V)
    g, gk, g_gamma = gate(r, 1, T, H), gate(r, 1, T, H, K), -rand(r, H)
    want, S = gla.naive.naive_recurrent_gla(q, k, v, gk + g[..., None] + g_gamma[:, None], output_final_state=True)
    o, final = fused_recurrent.fused_recurrent(q, k, v, g=g, g_gamma=g_gamma, gk=gk, output_final_state=True)
    assert_close(o, want, 1e-9)
    assert_close(final, S, 1e-9)
    assert_close(fused_chunk.fused_chunk(q, k, v, g)[0], ops.fused_recurrent_simple_gla(q, k, v, g)[0], 1e-9)


@pytest.mark.parametrize("gates", [(), ("g",), ("gk",), ("g", "gk")])
def test_the_scores_of_a_chunks_keys(gates):
    r = rng(14)
    k, beta = unit(r, 1, 37, H, K), rand(r, 1, 37, H)
    sums = {"g": -rand(r, 1, 37, H).cumsum(1), "gk": -rand(r, 1, 37, H, K).cumsum(1)}
    A = chunk_scaled_dot_kkt.chunk_scaled_dot_kkt_fwd(k, beta=beta, chunk_size=16, output_dtype=torch.float64,
                                                      **{n: sums[n] for n in gates})
    for i in (0, 5, 17, 36):
        for j in range(i // 16 * 16, min(i // 16 * 16 + 16, 37)):
            decay = sum((sums[n][0, i] - sums[n][0, j]).view(H, -1) for n in gates) if gates else torch.zeros(H, 1)
            want = beta[0, i] * (k[0, i] * k[0, j] * decay.exp()).sum(-1) if j < i else torch.zeros(H)
            assert torch.allclose(A[0, i, :, j % 16], want.double())


# The rest of RWKV-7.
def test_rwkv7_mixes_tokens():
    r = rng(15)
    x, delta = leaf(randn(r, 2, 5, 8)), leaf(randn(r, 2, 5, 8))
    mixtures = [leaf(randn(r, 1, 1, 8)) for _ in range(6)]
    got = rwkv7.fused_addcmul.fused_addcmul_rwkv7(x, delta, *mixtures)
    same(got, [x + delta * m for m in mixtures], [x, delta, *mixtures])
    assert rwkv7.fused_addcmul.fused_addcmul_rwkv7(x, delta, *mixtures[:5])[5] is None


def test_rwkv7_scales_keys():
    r = rng(16)
    for shape in ((8,), (1, 1, 8)):
        k, a, ka = (leaf(randn(r, *s).float()) for s in ((2, 5, 8), (2, 5, 8), shape))
        same([rwkv7.fused_k_update.fused_k_rwkv7(k, a, ka)], [k * (1 + (a - 1) * ka)], [k, a, ka], 1e-6, 1e-6)
        same([rwkv7.fused_k_update.k_update_ref(k, a, ka)], [k * (1 + (a - 1) * ka)], [k, a, ka], 1e-6, 1e-6)


def test_rwkv7_corrects_its_output():
    r = rng(17)
    o, g = (leaf(randn(r, 2, 5, H * K).float()) for _ in range(2))
    rr, k, v = (leaf(randn(r, 2, 5, H, K).float()) for _ in range(3))
    r_k = leaf(randn(r, H, K).float())
    module = rwkv7.gate_output_correction
    bonus = torch.einsum("bthk,bthk,hk->bth", rr, k, r_k)[..., None] * v
    want = (o + bonus.flatten(2)) * g
    same([module.gate_output_correction(o, rr, k, r_k, v, g)], [want], [o, rr, k, r_k, v, g], 1e-6, 1e-6)
    same([module.gate_output_correction_ref(o, rr, k, r_k, v, g)], [want], [o, rr, k, r_k, v, g], 1e-6, 1e-6)
    with pytest.raises(ValueError, match="r_k: expected shape"):
        module.gate_output_correction(o, rr, k, r_k[:1], v, g)


@pytest.mark.parametrize("before", [2, 3])
def test_rwkv7_mixes_channels(before):
    r = rng(18)
    x, x_prev = leaf(randn(r, 2, 5, 8)), leaf(randn(r, 2, 8) if before == 2 else randn(r, 2, 1, 8))
    x_k, key, value = leaf(randn(r, 1, 1, 8)), leaf(randn(r, 8, 16)), leaf(randn(r, 16, 8))
    o, last = rwkv7.channel_mixing.channel_mixing_rwkv7(x, x_prev, x_k, key, value)
    shifted = torch.cat((x_prev.reshape(2, 1, 8), x[:, :-1]), 1)
    want = F.relu((x + (shifted - x) * x_k) @ key) ** 2 @ value
    same([o], [want], [x, x_prev, x_k, key, value])
    assert torch.equal(last, x[-1])


# Low precision.
@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 4e-3), (torch.bfloat16, 2e-2)], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["simple_gla", "gated_delta_rule", "kda", "gsa"])
def test_half_precision(name, dtype, tolerance):
    """Outputs keep q's dtype, states are float32, gradients have their argument's dtype."""
    case, r = CASES[name], rng(19)
    given = {n: leaf(t.to(dtype)) for n, t in case.inputs(r, 1, 70).items()}
    exact = {n: leaf(t.double()) for n, t in given.items()}
    o, finals = case.forms["chunk"](given, None, None)
    want, want_finals = case.naive(exact, None, None)
    assert o.dtype == dtype and all(s.dtype == torch.float32 for s in finals)
    assert error(o, want) <= tolerance and all(error(a, b) <= tolerance for a, b in zip(finals, want_finals))
    for a, b in zip(grads([o], list(given.values())), grads([want], list(exact.values()))):
        assert a.dtype == dtype and error(a, b) <= tolerance


def test_operators_are_nodes_of_one_graph():
    """torch.compile(fullgraph=True) of several operators gives the same results and gradients."""
    r = rng(20)
    q, k, v, g = (leaf(t.float()) for t in (randn(r, 1, 40, H, K), unit(r, 1, 40, H, K), randn(r, 1, 40, H, K), gate(r, 1, 40, H, K)))

    def model(q, k, v, g):
        o, S = ops.chunk_gla(q, k, v, g, output_final_state=True)
        o, _ = ops.chunk_gated_delta_rule(o, k, v, g[..., 0], q[..., 0].sigmoid(), use_qk_l2norm_in_kernel=True)
        o, _ = ops.fused_recurrent_simple_gla(o, k, v, g[..., 0], initial_state=S, reverse=True)
        return [ops.chunk_retention(o, k, v)[0]]

    same(torch.compile(model, fullgraph=True, backend="aot_eager")(q, k, v, g), model(q, k, v, g), [q, k, v, g], 1e-6, 1e-6)
