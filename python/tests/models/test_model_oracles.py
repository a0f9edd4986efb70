"""The oracles against closed forms: the token loops are themselves checked."""
import inputs
import numpy as np
import oracles
import pytest
import signature

T = 24


def arguments(stem, regime="strong", seed=0):
    rng = np.random.default_rng(seed)
    values = {}
    for argument in signature.read(stem).arguments:
        if "default" not in argument.attrs or argument.is_gate:
            lead = () if argument.is_param or argument.is_value else (T,)
            values[argument.name] = inputs.draw(rng, argument, lead, regime)
    return values


def decay_mask(G):
    """exp(G_t - G_s) for s <= t, else 0; G [T] or [T, K] cumulative log gates."""
    lower = np.tril(np.ones((len(G), len(G)), bool))
    lower = lower.reshape(lower.shape + (1,) * (G.ndim - 1))
    return np.exp(np.where(lower, G[:, None] - G[None, :], -np.inf))


def check(stem, x, expected):
    np.testing.assert_allclose(np.array(getattr(oracles, stem)(**x)[0]), expected, rtol=1e-10, atol=1e-12)


def test_linear_attention_is_masked_attention():
    x = arguments("linear_attn")
    check("linear_attn", x, np.tril(x["q"] @ x["k"].T) @ x["v"])


def test_normalizer_divides_by_the_row_sums():
    x = arguments("linear_attn_normalized")
    scores = np.tril(x["q"] @ x["k"].T)
    check("linear_attn_normalized", x, scores @ x["v"] / (scores.sum(1, keepdims=True) + 1e-10))


@pytest.mark.parametrize("stem", ["retention", "lightning_attn", "simple_gla", "mamba2"])
def test_scalar_gates_weight_the_scores(stem):
    x = arguments(stem)
    if stem == "mamba2":
        q, k, v, g = x["C"], x["B"], x["dt"][:, None] * x["x"], x["dt"] * x["A"]
        skip = x.get("D", 0.0) * x["x"]
    else:
        q, k, v, g, skip = x["q"], x["k"], x["v"], x.get("g", np.zeros(T)) + x["g_gamma"], 0.0
    check(stem, x, (decay_mask(np.cumsum(g)) * (q @ k.T)) @ v + skip)


def test_key_and_value_gates_weight_each_channel():
    x = arguments("gla")
    mask_k, mask_v = decay_mask(np.cumsum(x["gk"], 0)), decay_mask(np.cumsum(x["gv"], 0))
    check("gla", x, np.einsum("tk,sk,tsk,tsv,sv->tv", x["q"], x["k"], mask_k, mask_v, x["v"]))


def test_hgrn2_is_gla_with_complementary_keys():
    x = arguments("hgrn2")
    check("hgrn2", x, np.array(oracles.gla(x["q"], 1 - np.exp(x["g"]), x["v"], gk=x["g"])[0]))


def test_rwkv6_reads_the_past_and_the_bonus():
    x = arguments("rwkv6")
    before = np.cumsum(x["w"], 0) - x["w"]  # log decay up to the read of token t
    past = np.exp(np.where(np.tril(np.ones((T, T), bool), -1)[..., None], before[:, None] - np.cumsum(x["w"], 0)[None], -np.inf))
    o = np.einsum("tk,sk,tsk,sv->tv", x["r"], x["k"], past, x["v"])
    check("rwkv6", x, o + ((x["r"] * x["u"] * x["k"]).sum(1))[:, None] * x["v"])


def test_rwkv4_is_a_weighted_mean():
    x = arguments("rwkv4")
    o = []
    for t in range(T):
        logits = np.array([x["w"] * (t - 1 - s) + x["k"][s] for s in range(t)] + [x["u"] + x["k"][t]])
        weights = np.exp(logits - logits.max(0))
        o.append((weights * x["v"][: t + 1]).sum(0) / weights.sum(0))
    check("rwkv4", x, np.array(o))


def test_hgrn_is_a_decayed_sum():
    x = arguments("hgrn")
    check("hgrn", x, np.einsum("tsd,sd->td", decay_mask(np.cumsum(x["g"], 0)), x["x"]))


def test_mamba_is_a_decayed_sum():
    x = arguments("mamba")
    G = np.cumsum(x["delta"], 0)[:, :, None] * x["A"]
    check("mamba", x, np.einsum("tsdn,sd,sn,tn->td", decay_mask(G), x["delta"] * x["u"], x["B"], x["C"]) + x.get("D", 0.0) * x["u"])


def test_short_conv_is_a_convolution_along_time():
    x = arguments("short_conv")
    taps = np.stack([x["w3"], x["w2"], x["w1"], x["w0"]])  # that of the current token first
    total = np.stack([np.convolve(x["x"][:, d], taps[:, d])[:T] for d in range(taps.shape[1])], 1)
    check("short_conv", x, total * oracles.sigmoid(total))


def test_based_scores_are_the_taylor_polynomial():
    x = arguments("based")
    s = x["q"] @ x["k"].T
    scores = np.tril(1 + s + s**2 / 2)
    check("based", x, scores @ x["v"] / (scores.sum(1, keepdims=True) + 1e-6))


def test_rebased_scores_are_squares():
    x = arguments("rebased")
    scores = np.tril((x["q"] @ x["k"].T) ** 2)
    check("rebased", x, scores @ x["v"] / (scores.sum(1, keepdims=True) + 1e-5))


def shares(s):
    """Softmax over the past of each slot: [T, T, M], row t sums to 1."""
    weights = np.exp(s)[None] * np.tril(np.ones((T, T)))[..., None]
    return weights / weights.sum(1, keepdims=True)


def test_abc_averages_the_past_in_each_slot():
    x = arguments("abc")
    w = shares(x["s"])
    logits = np.einsum("tk,tsm,sk->tm", x["q"], w, x["k"])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    check("abc", x, np.einsum("tm,tsm,sv->tv", p, w, x["v"]))


def test_lightnet_averages_the_past_in_each_channel():
    x = arguments("lightnet")
    check("lightnet", x, np.einsum("tk,tsk,sv->tv", x["q"], shares(x["k"]), x["v"]))


def test_gsa_is_two_gated_attentions():
    x = arguments("gsa")
    mask = decay_mask(np.cumsum(x["g"], 0))
    logits = np.einsum("tk,sk,tsm,sm->tm", x["q"], x["k"], mask, x["s"])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    check("gsa", x, np.einsum("tm,sm,tsm,sv->tv", p, x["s"], mask, x["v"]))


def test_mamba3_without_rotation_is_a_trapezoid():
    x = arguments("mamba3")
    x["angles"] = np.zeros_like(x["angles"])
    mask, dt, trap = decay_mask(np.cumsum(x["g"])), x["dt"], x["trap"]
    late = np.append(((1 - trap) * dt)[1:], 0.0)  # what a token adds at the next step's start
    weights = (trap * dt)[None, :] + late[None, :] * (1 - np.eye(T))
    check("mamba3", x, (mask * weights * (x["q"] @ x["k"].T)) @ x["v"] + x.get("D", 0.0) * x["v"])


def test_mamba3_depends_on_differences_of_angles():
    x = arguments("mamba3")
    theta = np.cumsum(x["dt"][:, None] * x["angles"], 0)
    as_complex = lambda y: y[:, 0::2] + 1j * y[:, 1::2]
    turned = np.exp(1j * (theta[None, :] - theta[:, None]))  # [t, s, R]
    dots = np.einsum("tr,sr,tsr->ts", as_complex(x["q"]).conj(), as_complex(x["k"]), turned).real
    trap, dt = x["trap"], x["dt"]
    late = np.append(((1 - trap) * dt)[1:], 0.0)
    weights = (trap * dt)[None, :] + late[None, :] * (1 - np.eye(T))
    check("mamba3", x, (decay_mask(np.cumsum(x["g"])) * weights * dots) @ x["v"] + x.get("D", 0.0) * x["v"])


def solved(q, k, v, beta, p, mask_read, mask_out):
    """o of S += k beta (v - S^T p)^T by one triangular solve; masks [T, T, K] or [T, T, 1]."""
    A = np.einsum("tk,sk,tsk->ts", p, k, np.broadcast_to(mask_read, (T, T, k.shape[1]))) * (1 - np.eye(T))
    u = np.linalg.solve(np.eye(T) + beta[:, None] * np.tril(A, -1), beta[:, None] * v)
    return np.einsum("tk,sk,tsk,sv->tv", q, k, np.broadcast_to(mask_out, (T, T, k.shape[1])), u)


@pytest.mark.parametrize("stem", ["delta_rule", "gated_delta_rule", "kda", "kda_gate", "kda_lower_bound"])
def test_delta_rules_solve_a_triangular_system(stem):
    x = arguments(stem)
    g = x.get("g", np.zeros(T))
    if stem == "kda_gate":
        g = -np.exp(x["A_log"]) * np.log1p(np.exp(g + x.get("dt_bias", 0.0)))
    if stem == "kda_lower_bound":
        g = -5.0 / (1 + np.exp(-np.exp(x["A_log"]) * (g + x.get("dt_bias", 0.0))))
    mask = decay_mask(np.cumsum(g.reshape(T, -1), 0))
    check(stem, x, solved(x["q"], x["k"], x["v"], x["beta"], x["k"], mask, mask))


def test_comba_reads_before_the_decay():
    x = arguments("comba")
    G = np.cumsum(x["g"])
    before = np.exp(np.where(np.tril(np.ones((T, T), bool), -1), (G - x["g"])[:, None] - G[None], -np.inf))[..., None]
    check("comba", x, solved(x["q"], x["k"], x["v"], x["beta"], x["p"], before, decay_mask(G)[..., None]))


def test_dplr_reads_before_the_decay():
    x = arguments("dplr_delta_rule")
    S, o = np.zeros((x["k"].shape[1], x["v"].shape[1])), []
    for t in range(T):
        S = np.exp(x["gk"][t])[:, None] * S + np.outer(x["b"][t], S.T @ x["a"][t]) + np.outer(x["k"][t], x["v"][t])
        o.append(S.T @ x["q"][t])
    check("dplr_delta_rule", x, np.array(o))


@pytest.mark.parametrize(
    "stem, special, same",
    [
        ("gated_delta_rule_gates", lambda x: dict(gk=None, gv=None), "gated_delta_rule"),
        ("gdn2", lambda x: dict(b=x["beta"][:, None] + 0 * x["k"], w=x["beta"][:, None] + 0 * x["v"]), "kda"),
        ("gated_delta_product", lambda x: {n: x[n][:, None] for n in ("k", "v", "beta")}, "gated_delta_rule"),
        ("iplr_delta_rule", lambda x: dict(a=x["k"], b=-x["beta"][:, None] * x["k"], v=x["beta"][:, None] * x["v"]), "delta_rule"),
        ("precond_kda", lambda x: dict(x=1.0, g_atk=np.zeros(T), beta_atk=np.ones(T)), "kda"),
        ("precond_gated_delta_rule", lambda x: dict(x=1.0, g_atk=np.zeros(T), beta_atk=np.ones(T)), "gated_delta_rule"),
    ],
)
def test_special_cases_are_simpler_rules(stem, special, same):
    x = arguments(same)
    expected = np.array(getattr(oracles, same)(**x)[0])
    if stem == "iplr_delta_rule":  # the write of S + beta k v^T takes k once
        x = {name: x[name] for name in ("q", "k", "v", "beta")}
    changed = {**x, **special(x)}
    known = {argument.name for argument in signature.read(stem).arguments}
    check(stem, {name: value for name, value in changed.items() if name in known}, expected)


def test_rwkv7_forms_agree():
    x = arguments("rwkv7_kk")
    same = dict(r=x["r"], w=x["w"], k=x["k"], v=x["v"], a=-x["kk"], b=x["kk"] * x["a"])
    check("rwkv7_kk", x, np.array(oracles.rwkv7(**same)[0]))


def test_oja_is_the_delta_rule_on_the_transposed_state():
    x = arguments("gated_oja_rule")
    S, o = np.zeros((x["v"].shape[1], x["k"].shape[1])), []
    for t in range(T):
        S = np.exp(x["gv"][t])[:, None] * S
        S = S + x["beta"][t] * np.outer(x["v"][t], x["k"][t] - x["v"][t] @ S)
        o.append(S @ x["q"][t])
    check("gated_oja_rule", x, np.array(o))


def test_rodimus_without_temperature_keeps_the_past():
    x = arguments("rodimus")
    x["tau"] = np.full_like(x["tau"], -800.0)
    check("rodimus", x, np.tril(x["q"] @ x["k"].T) @ x["v"])


@pytest.mark.parametrize("stem", signature.STEMS)
def test_cutting_a_sequence_changes_nothing(stem):
    x = arguments(stem, "weak")
    definition = signature.read(stem)
    per_token = {a.name for a in definition.arguments if not a.is_param and not a.is_value}
    oracle, cut = getattr(oracles, stem), 9
    part = lambda a, b: {name: value[a:b] if name in per_token else value for name, value in x.items()}
    whole, final = oracle(**x)
    first, carried = oracle(**part(0, cut))
    second, last = oracle(**part(cut, T), **dict(zip((s.name for s in definition.states), carried)))
    np.testing.assert_allclose(np.array(first + second), np.array(whole), rtol=1e-12, atol=1e-14)
    for state, mine, other in zip(definition.states, final, last):
        assert mine.shape == tuple(inputs.size(dim) for dim in state.dims)
        np.testing.assert_allclose(other, mine, rtol=1e-12, atol=1e-14)
