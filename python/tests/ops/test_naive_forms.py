"""The plain PyTorch forms among themselves: in chunks, in parallel and token by token they are one recurrence."""

import pytest
import torch
from helpers import assert_close
from operator_cases import CASES, H, K, V, randn

from fla.ops import (attn, based, comba, delta_rule, gated_delta_rule, gdn2, generalized_delta_rule, hgrn, kda,
                     linear_attn, rwkv6, simple_gla)

T = 37  # ragged for chunks of 16


def draw(name, seed=0):
    r = torch.Generator().manual_seed(seed)
    return CASES[name].inputs(r, 2, T), randn(r, 2, H, K, V)


def moved(x, *names):
    return [x[n].transpose(1, 2) for n in names]


def check(got, want, tolerance=1e-10):
    for a, b in zip(got, want):
        assert_close(a, b, tolerance)


def test_simple_gla():
    x, S = draw("simple_gla")
    module = simple_gla.naive
    check(module.naive_chunk_simple_gla(**x, initial_state=S, output_final_state=True, chunk_size=16),
          module.naive_recurrent_simple_gla(**x, initial_state=S))
    check([module.naive_parallel_simple_gla(**x)[0]], [module.naive_recurrent_simple_gla(**x)[0]])
    ungated = {**x, "g": None}
    check(module.naive_chunk_simple_gla(**ungated, chunk_size=16, output_final_state=True),
          module.naive_recurrent_simple_gla(**ungated))


@pytest.mark.parametrize("normalize", [False, True])
def test_linear_attn(normalize):
    x, _ = draw("linear_attn normalised")
    module = linear_attn.naive
    check([module.naive_chunk_linear_attn(**x, normalize=normalize, chunk_size=16)],
          [module.naive_recurrent_linear_attn(**x, normalize=normalize)[0]])


def test_delta_rule():
    x, _ = draw("delta_rule")
    module, given = delta_rule.naive, moved(x, "q", "k", "v", "beta")
    want = module.delta_rule_recurrence(*given)
    check(module.delta_rule_chunkwise(*given, chunk_size=16), want)
    o, A = module.delta_rule_parallel(*given)
    check([o, A @ (given[3][..., None] * given[2])], [want[0], want[0]])


def test_gated_delta_rule_comba_kda_gdn2():
    x, _ = draw("gated_delta_rule")
    S = torch.randn(2, 2 * H, K, V, dtype=torch.float64)
    options = dict(initial_state=S, output_final_state=True)
    check(gated_delta_rule.naive_chunk_gated_delta_rule(**x, **options, chunk_size=16),
          gated_delta_rule.naive_recurrent_gated_delta_rule(**x, **options))
    x, _ = draw("kda")
    check(kda.naive.naive_chunk_kda(**x, **options, chunk_size=16), kda.naive.naive_recurrent_kda(**x, **options))
    options["initial_state"] = S[:, :H]
    x, _ = draw("comba")
    check(comba.naive_chunk_comba(**x, **options, chunk_size=16), comba.naive_recurrent_comba(**x, **options))
    x, _ = draw("gdn2")
    check(gdn2.naive_chunk_gdn2(**x, **options, chunk_size=16), gdn2.naive_recurrent_gdn2(**x, **options))


def test_generalized_delta_rules():
    x, S = draw("dplr_delta_rule")
    x["gk"] = x["gk"].clamp(min=-5)  # the chunks of the naive form divide by decays
    module, given = generalized_delta_rule.dplr.naive, moved(x, "q", "k", "v", "a", "b", "gk")
    check(module.dplr_chunkwise(*given, S, chunk_size=16), module.dplr_recurrence(*given, S))
    x, S = draw("iplr_delta_rule")
    module, given = generalized_delta_rule.iplr.naive, moved(x, "q", "k", "v", "a", "b")
    check(module.iplr_chunkwise(*given, S, chunk_size=16), module.iplr_recurrence(*given, S))


def test_rwkv6():
    x, _ = draw("rwkv6")
    x["w"] = x["w"].clamp(min=-5)
    given = [*moved(x, "r", "k", "v", "w"), x["u"]]
    want = rwkv6.recurrent_naive.naive_recurrent_rwkv6(*given, scale=1.0)[0]
    check([rwkv6.chunk_naive.naive_chunk_rwkv6(*given, chunk_size=16)], [want])


def test_rwkv6_backward():
    x, S = draw("rwkv6")
    leaves = [t.float().requires_grad_() for t in (*moved(x, "r", "k", "v", "w"), x["u"], S)]
    o, _ = rwkv6.recurrent_naive.naive_recurrent_rwkv6(*leaves[:5], scale=1.0, initial_state=leaves[5])
    do = torch.randn_like(o)
    got = rwkv6.recurrent_naive.naive_recurrent_rwkv6_bwd(*leaves[:5], o, do, leaves[5])
    check(got, torch.autograd.grad(o, leaves, do), 1e-6)


def test_hgrn():
    x, _ = draw("hgrn")
    h = torch.randn(2, 12, dtype=torch.float64)
    check(hgrn.naive.naive_chunk_hgrn(**x, initial_state=h, output_final_state=True, chunk_size=16),
          hgrn.naive.naive_recurrent_hgrn(**x, initial_state=h, output_final_state=True))


def test_based():
    x, _ = draw("based")
    given = moved(x, "q", "k", "v")
    check([based.naive.naive_chunk_based(*given, chunk_size=16)], [based.naive.naive_parallel_based(*given)])


def test_the_largest_scores_of_attention():
    r = torch.Generator().manual_seed(0)
    q, k, v, sink = randn(r, 1, 5, 2 * H, K), randn(r, 1, 5, H, K), randn(r, 1, 5, H, V), randn(r, 2 * H)
    scores = torch.einsum("bthk,bshk->bths", q, k.repeat_interleave(2, 2)) * K ** -0.5
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)[:, None]
    want = scores.masked_fill(hidden, float("-inf")).amax(-1)
    check([attn.naive_parallel_attn(q, k, v)[1]], [want])
    check([attn.naive_parallel_attn(q, k, v, sink_bias=sink)[1]], [torch.maximum(want, sink)])
    check([attn.naive_parallel_attn(q, k, v, causal=False)[1]], [scores.amax(-1)])
