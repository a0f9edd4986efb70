"""Every operator beside its naive form: how each is called, and inputs for it.

A case has inputs by name, the calls of its forms and of its naive form on them, and
the shapes of its states. The naive form takes one sequence after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import torch
import torch.nn.functional as F

from fla import ops
from fla.ops import (abc, attn, based, comba, delta_rule, gated_delta_product, gated_delta_rule, gated_oja_rule, gdn2,
                     generalized_delta_rule, gla, gsa, hgrn, kda, lightning_attn, linear_attn, precond_gated_delta_rule,
                     precond_kda, rebased, retention, rwkv4, rwkv6, rwkv7, simple_gla)

K, V, M, H = 10, 14, 6, 2  # not powers of two, and different


@dataclass(frozen=True)
class Case:
    """forms and naive take (inputs, states or None, cu_seqlens or None) and return (o, states or None)."""

    forms: dict[str, Callable]
    naive: Callable
    inputs: Callable
    states: tuple = ()
    packed: bool = True
    positive: tuple = ()  # states that the recurrence never leaves below zero, by number


def randn(r, *shape):
    return torch.randn(*shape, generator=r, dtype=torch.float64)


def rand(r, *shape):
    return torch.rand(*shape, generator=r, dtype=torch.float64)


def gate(r, *shape):
    """Natural-log gates: weak, some zero, some nearly a reset."""
    x = F.logsigmoid(2 * randn(r, *shape) + 1)
    pick = rand(r, *shape)
    return torch.where(pick < 0.1, 0.0, torch.where(pick > 0.97, -30.0, x))


def unit(r, *shape):
    return F.normalize(randn(r, *shape), dim=-1)


def qkv(r, B, T, unit_keys=False, heads=None):
    return {"q": randn(r, B, T, H, K), "k": (unit if unit_keys else randn)(r, B, T, H, K),
            "v": randn(r, B, T, heads or H, V)}


def with_states(call, **names):
    """Calls an operator whose state is one tensor (or a tuple) with what is given of states and offsets."""
    def run(x, states, cu_seqlens, **options):
        start = None if states is None else states[0] if len(states) == 1 else tuple(states)
        given = {names.get(n, n): t for n, t in x.items()}
        packed = {} if cu_seqlens is None else {"cu_seqlens": cu_seqlens}
        o, final = call(**given, initial_state=start, output_final_state=True, **packed, **options)
        return o, final if isinstance(final, tuple) else (final,)
    return run


def naive_with_states(call, **names):
    """The same of a naive form, which knows nothing of packed sequences."""
    def run(x, states, cu_seqlens):
        return with_states(call, **names)(x, states, None)
    return run


def without_states(call, **names):
    def run(x, states, cu_seqlens):
        packed = {} if cu_seqlens is None else {"cu_seqlens": cu_seqlens}
        out = call(**{names.get(n, n): t for n, t in x.items()}, **packed)
        return (out[0] if isinstance(out, tuple) else out), ()
    return run


def head_first(call, *order, **options):
    """A naive form with heads before tokens, arguments in this order; returns (o, states)."""
    def run(x, states, cu_seqlens):
        moved = [x[n].transpose(1, 2) if x[n].dim() > 2 else x[n] for n in order]
        start = {} if not states else {"initial_state": states[0] if len(states) == 1 else tuple(states)}
        out = call(*moved, **start, **options)
        o, final = out if isinstance(out, tuple) else (out, ())
        return o.transpose(1, 2), final if isinstance(final, tuple) else (final,)
    return run


def simple_gla_inputs(r, B, T):
    return {**qkv(r, B, T), "g": gate(r, B, T, H)}


def gla_inputs(r, B, T):
    return {**qkv(r, B, T), "gk": gate(r, B, T, H, K)}


def delta_inputs(r, B, T):
    return {**qkv(r, B, T, True), "beta": rand(r, B, T, H)}


def gdn_inputs(r, B, T):
    return {**qkv(r, B, T, True, 2 * H), "g": gate(r, B, T, 2 * H), "beta": 2 * rand(r, B, T, 2 * H)}


def product_inputs(r, B, T, n=3):
    x = {**qkv(r, B, T, True), "g": gate(r, B, T, H)}
    return {**x, "k": unit(r, B, T * n, H, K), "v": randn(r, B, T * n, H, V), "beta": rand(r, B, T * n, H)}


def comba_inputs(r, B, T):
    return {**qkv(r, B, T, True), "p": 0.5 * unit(r, B, T, H, K), "g": gate(r, B, T, H), "beta": rand(r, B, T, H)}


def kda_inputs(r, B, T):
    return {**qkv(r, B, T, True, 2 * H), "g": gate(r, B, T, 2 * H, K), "beta": rand(r, B, T, 2 * H)}


def gdn2_inputs(r, B, T):
    return {**qkv(r, B, T, True), "g": gate(r, B, T, H, K), "b": rand(r, B, T, H, K), "w": rand(r, B, T, H, V)}


def precond_inputs(r, B, T):
    x = qkv(r, B, T, True, 2 * H)
    return {**x, "q": unit(r, B, T, H, K), "g_atk": gate(r, B, T, H), "g": gate(r, B, T, 2 * H),
            "beta_atk": rand(r, B, T, H), "beta": rand(r, B, T, 2 * H), "log_atk_scale": randn(r, H)}


def precond_kda_inputs(r, B, T):
    return {**qkv(r, B, T, True), "g": gate(r, B, T, H, K), "g_atk": gate(r, B, T, H), "beta_atk": rand(r, B, T, H),
            "beta": rand(r, B, T, H), "log_atk_scale": randn(r, H)}


def oja_inputs(r, B, T):
    x = qkv(r, B, T)
    return {**x, "v": unit(r, B, T, H, V), "gv": gate(r, B, T, H, V), "beta": rand(r, B, T, H)}


def dplr_inputs(r, B, T):
    return {**qkv(r, B, T), "a": unit(r, B, T, H, K), "b": 0.3 * randn(r, B, T, H, K), "gk": gate(r, B, T, H, K)}


def iplr_inputs(r, B, T):
    a = unit(r, B, T, H, K)
    return {**qkv(r, B, T), "a": a, "b": -rand(r, B, T, H, 1) * a}


def rwkv6_inputs(r, B, T):
    x = qkv(r, B, T)
    return {"r": x["q"], "k": x["k"], "v": x["v"], "w": gate(r, B, T, H, K), "u": randn(r, H, K)}


def rwkv7_inputs(r, B, T):
    x = dplr_inputs(r, B, T)
    return {"r": x["q"], "w": x["gk"], "k": x["k"], "v": x["v"], "a": x["a"], "b": x["b"]}


def rwkv7_kk_inputs(r, B, T):
    x = qkv(r, B, T)
    return {"r": x["q"], "w": gate(r, B, T, H, K), "k": x["k"], "v": x["v"], "kk": unit(r, B, T, H, K),
            "a": rand(r, B, T, H, K)}


def gsa_inputs(r, B, T):
    x = qkv(r, B, T)
    return {**x, "q": randn(r, B, T, 2 * H, K), "s": randn(r, B, T, H, M), "g": gate(r, B, T, H, M)}


def abc_inputs(r, B, T):
    return {**qkv(r, B, T), "s": 3 * randn(r, B, T, H, M)}


def attention_inputs(r, B, T):
    return {**qkv(r, B, T), "q": randn(r, B, T, 2 * H, K)}


def hgrn_inputs(r, B, T):
    return {"x": randn(r, B, T, 12), "g": gate(r, B, T, 12)}


def linear_inputs(r, B, T):
    x = qkv(r, B, T)
    return {**x, "q": x["q"].abs(), "k": x["k"].abs()}  # the divisor is a sum of positive numbers


def retention_naive(x, states, cu_seqlens):
    gamma = torch.log1p(-torch.exp2(-5.0 - torch.arange(H, dtype=torch.float64)))
    return constant_gates(x, states, gamma)


def lightning_naive(x, states, cu_seqlens):
    return constant_gates(x, states, -8 / H * (1 - 3 / 12) * torch.arange(H, dtype=torch.float64))


def constant_gates(x, states, gamma):
    g = gamma.expand(*x["q"].shape[:3])
    return naive_with_states(simple_gla.naive.naive_recurrent_simple_gla)({**x, "g": g}, states, None)


def rwkv7_naive(x, states, cu_seqlens):
    names = dict(q="r", k="k", v="v", alpha="a", beta="b", gk="w")
    moved = {n: x[m] for n, m in names.items()}
    return head_first(generalized_delta_rule.dplr.naive.dplr_recurrence, *names)(moved, states, None)


def rwkv7_kk_naive(x, states, cu_seqlens):
    given = {**{n: x[n] for n in ("r", "w", "k", "v")}, "a": -x["kk"], "b": x["kk"] * x["a"]}
    return rwkv7_naive(given, states, cu_seqlens)


def product_naive(x, states, cu_seqlens):
    start = None if states is None else states[0]
    o, final = gated_delta_product.naive.naive_recurrent_gated_delta_product(
        **x, scale=None, cu_seqlens=None, initial_state=start, output_final_state=True, num_householder=3)
    return o, (final,)


def precond(call, **options):
    def run(x, states, cu_seqlens):
        S, A = states or (None, None)
        packed = {} if cu_seqlens is None else {"cu_seqlens": cu_seqlens}
        o, *final = call(**x, initial_state=S, initial_A_state=A, output_final_state=True, **packed, **options)
        return o, tuple(final)
    return run


def precond_naive(x, states, cu_seqlens):
    """The recurrence without the normalisation that goes before it."""
    S, A = states or (None, None)
    o, *final = precond_gated_delta_rule.naive.precond_recurrence(**x, scale=None, S=S, A=A, x=1.5, eps=1e-6)
    return o, tuple(final)


def rwkv4_call(call):
    def run(x, states, cu_seqlens):
        start = torch.stack(states, 1).unsqueeze(2)
        o, final = call(x["w"], x["u"], x["k"], x["v"], start)
        return o, tuple(final.squeeze(2).unbind(1))
    return run


def rwkv4_inputs(r, B, T):
    return {"w": randn(r, 12), "u": randn(r, 12), "k": randn(r, B, T, 12), "v": randn(r, B, T, 12)}


def normalised(call):
    """Linear attention with its divisor; z is [N, 1, H, K] for callers."""
    def run(x, states, cu_seqlens):
        start = None if states is None else (states[0], states[1].unsqueeze(1))
        packed = {} if cu_seqlens is None else {"cu_seqlens": cu_seqlens}
        o, (S, z) = call(**x, initial_state=start, output_final_state=True, normalize=True, **packed)
        return o, (S, z.squeeze(1))
    return run


def plain_linear(call):
    return lambda x, states, cu_seqlens: with_states(call)(x, states, cu_seqlens, normalize=False)


def dropped(inputs, *names):
    return lambda r, B, T: {n: x for n, x in inputs(r, B, T).items() if n not in names}


def naive_kda(x, states, cu_seqlens):
    return naive_with_states(kda.naive.naive_recurrent_kda)(x, states, None)


def with_ungated(naive):
    return lambda x, states, cu_seqlens: naive({**x, "g": torch.zeros_like(x["beta"])}, states, None)


_SIMPLE, _GLA = simple_gla.naive.naive_recurrent_simple_gla, gla.naive.naive_recurrent_gla
_GDN = gated_delta_rule.naive.naive_recurrent_gated_delta_rule
_S = ((H, K, V),)
_SV = ((2 * H, K, V),)

CASES = {
    "simple_gla": Case({"chunk": with_states(ops.chunk_simple_gla), "fused_chunk": with_states(ops.fused_chunk_simple_gla),
                        "recurrent": with_states(ops.fused_recurrent_simple_gla)},
                       naive_with_states(_SIMPLE), simple_gla_inputs, _S),
    "simple_gla without states": Case({"parallel": without_states(ops.parallel_simple_gla)},
                                      lambda x, s, c: (simple_gla.naive.naive_parallel_simple_gla(**x)[0], ()),
                                      simple_gla_inputs),
    "gla": Case({"chunk": with_states(ops.chunk_gla, gk="g"), "recurrent": with_states(ops.fused_recurrent_gla)},
                naive_with_states(_GLA), gla_inputs, _S),
    "gla in one kernel": Case({"fused_chunk": with_states(ops.fused_chunk_gla, gk="g")}, naive_with_states(_GLA),
                              gla_inputs, _S, packed=False),
    "retention": Case({"chunk": with_states(ops.chunk_retention), "fused_chunk": with_states(ops.fused_chunk_retention),
                       "recurrent": with_states(ops.fused_recurrent_retention)}, retention_naive, qkv, _S),
    "retention without states": Case({"parallel": without_states(ops.parallel_retention)},
                                     head_first(retention.naive.naive_retention, "q", "k", "v"), qkv),
    "lightning_attn": Case({name: lambda x, s, c, f=f: with_states(f)(x, s, c, layer_idx=3, num_layers=12) for name, f in
                            (("chunk", ops.chunk_lightning_attn), ("recurrent", ops.fused_recurrent_lightning_attn))},
                           lightning_naive, qkv, _S),
    "linear_attn": Case({"chunk": plain_linear(ops.chunk_linear_attn), "fused_chunk": plain_linear(ops.fused_chunk_linear_attn),
                         "recurrent": plain_linear(ops.fused_recurrent_linear_attn)},
                        naive_with_states(linear_attn.naive.naive_recurrent_linear_attn), qkv, _S),
    "linear_attn normalised": Case({"chunk": normalised(ops.chunk_linear_attn),
                                    "recurrent": normalised(ops.fused_recurrent_linear_attn)},
                                   lambda x, s, c: normalised(linear_attn.naive.naive_recurrent_linear_attn)(x, s, None),
                                   linear_inputs, ((H, K, V), (H, K)), positive=(1,)),
    "delta_rule": Case({"chunk": with_states(ops.chunk_delta_rule), "fused_chunk": with_states(ops.fused_chunk_delta_rule),
                        "recurrent": with_states(ops.fused_recurrent_delta_rule)},
                       head_first(delta_rule.naive.delta_rule_recurrence, "q", "k", "v", "beta"), delta_inputs, _S),
    "delta_rule without states": Case({"parallel": lambda x, s, c: (ops.parallel_delta_rule(**x)[0], ())},
                                      head_first(lambda *x: delta_rule.naive.delta_rule_parallel(*x)[0], "q", "k", "v", "beta"),
                                      delta_inputs, packed=False),
    "delta_rule, a rate a channel": Case({"recurrent": with_states(ops.fused_recurrent_delta_rule)},
                                         head_first(delta_rule.naive.delta_rule_recurrence, "q", "k", "v", "beta"),
                                         lambda r, B, T: {**delta_inputs(r, B, T), "beta": rand(r, B, T, H, V)}, _S),
    "gated_delta_rule": Case({"chunk": with_states(ops.chunk_gated_delta_rule),
                              "recurrent": with_states(ops.fused_recurrent_gated_delta_rule)},
                             naive_with_states(_GDN), gdn_inputs, _SV),
    "gated_delta_rule ungated": Case({"recurrent": with_states(ops.fused_recurrent_gated_delta_rule)},
                                     with_ungated(naive_with_states(_GDN)), dropped(gdn_inputs, "g"), _SV),
    "gated_delta_rule, a gate a channel": Case({"recurrent": with_states(ops.fused_recurrent_gated_delta_rule, g="gk")},
                                               naive_kda, kda_inputs, _SV),
    "gated_delta_product": Case({"chunk": lambda x, s, c: with_states(gated_delta_product.chunk_gated_delta_product)(
        x, s, c, num_householder=3), "ref": lambda x, s, c: with_states(
            gated_delta_product.chunk_ref.chunk_gated_delta_product_ref)(x, s, c, num_householder=3)},
        product_naive, product_inputs, _S),
    "comba": Case({"chunk": with_states(ops.chunk_comba), "recurrent": with_states(ops.fused_recurrent_comba)},
                  naive_with_states(comba.naive.naive_recurrent_comba), comba_inputs, _S),
    "kda": Case({"chunk": with_states(ops.chunk_kda), "recurrent": with_states(ops.fused_recurrent_kda)}, naive_kda,
                kda_inputs, _SV),
    "gdn2": Case({"chunk": with_states(gdn2.chunk_gdn2), "recurrent": with_states(gdn2.fused_recurrent_gdn2)},
                 naive_with_states(gdn2.naive.naive_recurrent_gdn2), gdn2_inputs, _S),
    "precond_gated_delta_rule": Case({name: precond(f, use_qk_l2norm_in_kernel=False) for name, f in (
        ("chunk", ops.chunk_precond_gated_delta_rule), ("recurrent", ops.fused_recurrent_precond_gated_delta_rule))},
        precond_naive, precond_inputs, ((2 * H, K, V), (H, K)), positive=(1,)),
    "precond_kda": Case({name: precond(f, use_qk_l2norm_in_kernel=False) for name, f in (
        ("chunk", ops.chunk_precond_kda), ("recurrent", ops.fused_recurrent_precond_kda))},
        lambda x, s, c: precond(precond_kda.naive.naive_recurrent_precond_kda)(x, s, None), precond_kda_inputs,
        ((H, K, V), (H, K)), positive=(1,)),
    "gated_oja_rule": Case({"chunk": with_states(gated_oja_rule.chunk_gated_oja_rule),
                            "recurrent": with_states(gated_oja_rule.fused_recurrent_gated_oja_rule)},
                           naive_with_states(gated_oja_rule.naive.naive_recurrent_gated_oja_rule), oja_inputs, _S),
    "dplr_delta_rule": Case({"chunk": with_states(ops.chunk_dplr_delta_rule),
                             "recurrent": with_states(ops.fused_recurrent_dplr_delta_rule)},
                            head_first(generalized_delta_rule.dplr.naive.dplr_recurrence, "q", "k", "v", "a", "b", "gk"),
                            dplr_inputs, _S),
    "iplr_delta_rule": Case({"chunk": with_states(ops.chunk_iplr_delta_rule),
                             "recurrent": with_states(ops.fused_recurrent_iplr_delta_rule)},
                            head_first(generalized_delta_rule.iplr.naive.iplr_recurrence, "q", "k", "v", "a", "b"),
                            iplr_inputs, _S),
    "rwkv4": Case({"recurrent": rwkv4_call(rwkv4.fused_recurrent_rwkv4)}, rwkv4_call(rwkv4.naive.naive_recurrent_rwkv4),
                  rwkv4_inputs, ((12,), (12,), (12,)), packed=False, positive=(1,)),
    "rwkv6": Case({"chunk": with_states(ops.chunk_rwkv6), "recurrent": with_states(ops.fused_recurrent_rwkv6)},
                  head_first(rwkv6.recurrent_naive.naive_recurrent_rwkv6, "r", "k", "v", "w", "u", output_final_state=True),
                  rwkv6_inputs, _S),
    "rwkv7": Case({"chunk": lambda x, s, c: with_states(ops.chunk_rwkv7)(x, s, c, scale=K ** -0.5),
                   "recurrent": with_states(ops.fused_recurrent_rwkv7)}, rwkv7_naive, rwkv7_inputs, _S),
    "rwkv7 with its removal key": Case({"recurrent": lambda x, s, c: with_states(rwkv7.fused_mul_recurrent_rwkv7)(
        x, s, c, scale=None)}, rwkv7_kk_naive, rwkv7_kk_inputs, _S),
    "hgrn": Case({"chunk": with_states(ops.chunk_hgrn), "recurrent": with_states(ops.fused_recurrent_hgrn)},
                 naive_with_states(hgrn.naive.naive_recurrent_hgrn), hgrn_inputs, ((12,),)),
    "gsa": Case({"chunk": with_states(ops.chunk_gsa), "recurrent": with_states(ops.fused_recurrent_gsa)},
                naive_with_states(gsa.naive.naive_recurrent_gsa), gsa_inputs, ((H, K, M), (H, M, V))),
    "gsa ungated": Case({"chunk": with_states(ops.chunk_gsa), "recurrent": with_states(ops.fused_recurrent_gsa)},
                        naive_with_states(gsa.naive.naive_recurrent_gsa), dropped(gsa_inputs, "g"), ((H, K, M), (H, M, V))),
    "abc": Case({"chunk": with_states(ops.chunk_abc)},
                head_first(abc.naive.naive_recurrent_abc, "q", "k", "v", "s", output_final_state=True), abc_inputs,
                ((H, K, M), (H, M, V))),
    "based": Case({"parallel": without_states(ops.parallel_based), "fused_chunk": without_states(ops.fused_chunk_based)},
                  head_first(based.naive.naive_parallel_based, "q", "k", "v"), qkv, packed=False),
    "based undivided": Case({"parallel": lambda x, s, c: (ops.parallel_based(**x, use_norm=False), ())},
                            head_first(based.naive.naive_parallel_based, "q", "k", "v", use_norm=False), qkv, packed=False),
    "rebased": Case({"parallel": lambda x, s, c: (ops.parallel_rebased(**x, eps=1e-6), ())},
                    head_first(rebased.naive.naive_parallel_rebased, "q", "k", "v"), qkv, packed=False),
    "rebased undivided": Case({"parallel": lambda x, s, c: (ops.parallel_rebased(**x, use_normalize=False), ())},
                              head_first(rebased.naive.naive_parallel_rebased, "q", "k", "v", use_norm=False), qkv,
                              packed=False),
    "attn": Case({"parallel": without_states(ops.parallel_attn)},
                 lambda x, s, c: (attn.naive.naive_parallel_attn(**x)[0], ()), attention_inputs),
    "attn with decays": Case({"parallel": without_states(ops.parallel_attn)},
                             lambda x, s, c: (attn.naive.naive_parallel_attn(**x)[0], ()),
                             lambda r, B, T: {**attention_inputs(r, B, T), "g": gate(r, B, T, 2 * H)}),
    "attn in a window with sinks": Case({"parallel": lambda x, s, c: without_states(
        lambda **k: ops.parallel_attn(**k, window_size=9))(x, s, c)},
        lambda x, s, c: (attn.naive.naive_parallel_attn(**x, window_size=9)[0], ()),
        lambda r, B, T: {**attention_inputs(r, B, T), "sink_bias": randn(r, 2 * H)}),
}
