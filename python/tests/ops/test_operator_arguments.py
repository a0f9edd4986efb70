"""What operators refuse and how, what they accept by place, and which names there are."""

import inspect
import subprocess
import sys

import pytest
import torch
from operator_cases import CASES, H, K, V

import fla
from fla import ops
from fla.ops import gated_delta_product, gated_oja_rule, hgrn, rebased, rwkv4, rwkv7

# The order of arguments in September 2025, which callers rely on by place.
ORDERS = {
    ops.chunk_abc: "q k v s initial_state output_final_state head_first",
    ops.parallel_attn: "q k v g scale cu_seqlens head_first",
    ops.fused_chunk_based: "q k v scale use_norm head_first",
    ops.parallel_based: "q k v scale use_norm head_first",
    ops.chunk_comba: "q k v p g beta scale initial_state output_final_state use_qk_l2norm_in_kernel cu_seqlens",
    ops.fused_recurrent_comba: "q k p v g beta scale initial_state output_final_state use_qk_l2norm_in_kernel cu_seqlens",
    ops.chunk_delta_rule: "q k v beta scale initial_state output_final_state use_qk_l2norm_in_kernel cu_seqlens head_first",
    ops.fused_recurrent_delta_rule: "q k v beta scale initial_state output_final_state use_qk_l2norm_in_kernel cu_seqlens",
    ops.parallel_delta_rule: "q k v beta scale output_attentions head_first",
    gated_delta_product.chunk_gated_delta_product: "q k v g beta num_householder scale initial_state output_final_state "
                                                   "use_qk_l2norm_in_kernel cu_seqlens",
    ops.chunk_gated_delta_rule: "q k v g beta scale initial_state output_final_state use_qk_l2norm_in_kernel cu_seqlens "
                                "head_first",
    ops.fused_recurrent_gated_delta_rule: "q k v g gk gv beta scale initial_state output_final_state "
                                          "use_qk_l2norm_in_kernel cu_seqlens",
    ops.chunk_dplr_delta_rule: "q k v a b gk scale initial_state output_final_state cu_seqlens head_first",
    ops.fused_recurrent_dplr_delta_rule: "q k v a b gk scale initial_state output_final_state reverse cu_seqlens",
    ops.chunk_iplr_delta_rule: "q k v a b scale initial_state output_final_state cu_seqlens head_first",
    ops.fused_recurrent_iplr_delta_rule: "q k v a b scale initial_state output_final_state cu_seqlens",
    ops.chunk_gla: "q k v g scale initial_state output_final_state cu_seqlens",
    ops.fused_chunk_gla: "q k v g scale initial_state output_final_state head_first",
    ops.fused_recurrent_gla: "q k v gk gv scale initial_state output_final_state reverse cu_seqlens",
    ops.chunk_gsa: "q k v s g scale initial_state output_final_state checkpoint_level cu_seqlens head_first",
    ops.fused_recurrent_gsa: "q k v s g scale initial_state output_final_state reverse cu_seqlens",
    hgrn.chunk_hgrn: "x g initial_state output_final_state",
    ops.fused_recurrent_hgrn: "x g initial_state output_final_state cu_seqlens",
    ops.chunk_lightning_attn: "q k v layer_idx num_layers scale initial_state output_final_state cu_seqlens head_first",
    ops.fused_recurrent_lightning_attn: "q k v layer_idx num_layers scale initial_state output_final_state reverse "
                                        "cu_seqlens head_first",
    ops.chunk_linear_attn: "q k v scale initial_state output_final_state normalize head_first",
    ops.fused_chunk_linear_attn: "q k v scale initial_state output_final_state normalize head_first",
    ops.fused_recurrent_linear_attn: "q k v scale initial_state output_final_state reverse normalize cu_seqlens",
    rebased.parallel_rebased: "q k v eps use_scale use_normalize return_both head_first",
    ops.chunk_retention: "q k v scale initial_state output_final_state cu_seqlens head_first",
    ops.fused_chunk_retention: "q k v scale initial_state output_final_state cu_seqlens head_first",
    ops.fused_recurrent_retention: "q k v scale initial_state output_final_state reverse cu_seqlens",
    ops.parallel_retention: "q k v scale output_attentions cu_seqlens head_first",
    rwkv4.fused_recurrent_rwkv4: "w u k v state",
    ops.chunk_rwkv6: "r k v w u scale initial_state output_final_state cu_seqlens head_first",
    ops.fused_recurrent_rwkv6: "r k v w u scale initial_state output_final_state reverse cu_seqlens head_first",
    ops.chunk_rwkv7: "r w k v a b scale initial_state output_final_state cu_seqlens head_first",
    ops.fused_recurrent_rwkv7: "r w k v a b scale initial_state output_final_state cu_seqlens head_first",
    rwkv7.fused_mul_recurrent_rwkv7: "r w k v kk a scale initial_state output_final_state reverse cu_seqlens head_first",
    ops.chunk_simple_gla: "q k v g g_gamma scale initial_state output_final_state cu_seqlens head_first",
    ops.fused_chunk_simple_gla: "q k v g g_gamma scale initial_state output_final_state cu_seqlens",
    ops.fused_recurrent_simple_gla: "q k v g g_gamma scale initial_state output_final_state reverse cu_seqlens",
    ops.parallel_simple_gla: "q k v g scale output_attentions cu_seqlens head_first",
}
# Operators that came later have one order.
LATER = {
    ops.chunk_kda: "q k v g beta scale initial_state output_final_state use_qk_l2norm_in_kernel use_gate_in_kernel "
                   "use_beta_sigmoid_in_kernel allow_neg_eigval safe_gate lower_bound disable_recompute "
                   "return_intermediate_states state_v_first cu_seqlens cu_seqlens_cpu cp_context",
    ops.fused_recurrent_kda: "q k v g beta A_log dt_bias scale initial_state output_final_state use_qk_l2norm_in_kernel "
                             "use_gate_in_kernel use_beta_sigmoid_in_kernel allow_neg_eigval lower_bound state_v_first cu_seqlens",
    gated_oja_rule.chunk_gated_oja_rule: "q k v gv beta scale initial_state output_final_state use_q_l2norm use_k_l2norm "
                                         "cu_seqlens cu_seqlens_cpu",
}


@pytest.mark.parametrize("op", [*ORDERS, *LATER], ids=lambda op: op.__name__)
def test_arguments_by_place(op):
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD,)
    order = [p.name for p in inspect.signature(op).parameters.values() if p.kind in kinds]
    assert order == {**ORDERS, **LATER}[op].split()


HEAD_FIRST = [op for op, order in ORDERS.items() if order.endswith("head_first")]


def call(op, tokens=4, heads=H, batch=1, **options):
    """A call of `op` with tensors of ones for what it demands."""
    sizes = {"v": V, "s": 5, "g": {ops.chunk_gla: K, ops.fused_chunk_gla: K, ops.chunk_gsa: 5}.get(op), "beta": None}
    given = {}
    for p in inspect.signature(op).parameters.values():
        if p.default is p.empty and p.name not in options:
            width = sizes.get(p.name, K)
            shape = (batch, tokens, heads) if width is None else (batch, tokens, heads, width)
            given[p.name] = {"layer_idx": 0, "num_layers": 2, "num_householder": 1}.get(p.name, torch.ones(shape))
    if "u" in given and op is not rwkv4.fused_recurrent_rwkv4:
        given["u"] = torch.ones(heads, K)
    return op(**given, **options)


@pytest.mark.parametrize("op", HEAD_FIRST, ids=lambda op: op.__name__)
def test_head_first_tensors_are_refused(op):
    with pytest.raises(DeprecationWarning, match="head_first=True is no longer available"):
        call(op, head_first=True)
    call(op, head_first=False)  # what callers of old say


def test_more_heads_than_tokens_look_like_it():
    with pytest.warns(UserWarning, match="got 3 tokens and 8 heads"):
        call(ops.chunk_simple_gla, tokens=3, heads=8)


PACKED = [op for op, order in ORDERS.items() if "cu_seqlens" in order.split() and "x" not in order.split()]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("op", PACKED, ids=lambda op: op.__name__)
def test_packed_decoding_has_fewer_tokens_than_heads(op):
    call(op, tokens=3, heads=8, cu_seqlens=torch.arange(4))


@pytest.mark.parametrize("op", PACKED, ids=lambda op: op.__name__)
def test_packed_sequences_are_one_row_with_a_state_each(op):
    with pytest.raises(ValueError, match="cu_seqlens: expected batch size 1 with packed sequences, got 2"):
        call(op, batch=2, cu_seqlens=torch.tensor([0, 2, 4]))
    if "initial_state" not in inspect.signature(op).parameters:
        return
    state = torch.zeros(3, H, K, V)
    state = (torch.zeros(3, H, K, 5), torch.zeros(3, H, 5, V)) if "gsa" in op.__name__ else state
    with pytest.raises(ValueError, match="expected one for each of the 2 packed sequences, got 3"):
        call(op, cu_seqlens=torch.tensor([0, 2, 4]), initial_state=state)


@pytest.mark.parametrize("op, allowed", [(ops.chunk_simple_gla, 128), (ops.chunk_delta_rule, 64), (ops.chunk_gated_delta_rule, 16),
                                         (ops.chunk_kda, 32), (ops.chunk_gsa, 64)], ids=lambda x: getattr(x, "__name__", x))
def test_chunk_sizes(op, allowed):
    for wrong in (0, 24, 512, True, "64"):
        with pytest.raises(ValueError, match="chunk_size: expected"):
            call(op, chunk_size=wrong)
    extra = {"g": torch.zeros(1, 4, H, K), "beta": torch.ones(1, 4, H)} if op is ops.chunk_kda else {}
    call(op, chunk_size=allowed, **extra)


def test_head_counts_and_flags_that_do_not_go_together():
    q, v = torch.ones(1, 4, 2, K), torch.ones(1, 4, 3, V)
    for op in (ops.chunk_gated_delta_rule, ops.fused_recurrent_gated_delta_rule, ops.chunk_kda):
        with pytest.raises(ValueError, match="expected as many heads of k as of q, got 1 and 2"):
            op(q, q[:, :, :1], v, v[..., 0], beta=v[..., 0])
        with pytest.raises(ValueError, match="v's heads that 2"):
            op(q, q, v, v[..., 0], beta=v[..., 0])
        with pytest.raises(ValueError, match="allow_neg_eigval=True: expected use_beta_sigmoid_in_kernel=True"):
            op(q, q, q, q[..., 0], beta=q[..., 0], allow_neg_eigval=True)
    with pytest.raises(ValueError, match="expected A_log, got None"):
        ops.chunk_gated_delta_rule(q, q, q, q[..., 0], q[..., 0], use_gate_in_kernel=True)
    with pytest.raises(ValueError, match="expected A_log, or lower_bound"):
        ops.chunk_kda(q, q, q, q, q[..., 0], use_gate_in_kernel=True)
    with pytest.raises(ValueError, match=r"expected -5 <= lower_bound < 0, got -7"):
        ops.chunk_kda(q, q, q, q, q[..., 0], use_gate_in_kernel=True, safe_gate=True, lower_bound=-7.0)
    with pytest.raises(ValueError, match="lower_bound: expected a negative number"):
        ops.chunk_dplr_delta_rule(q, q, q, q, q, q, lower_bound=1.0)
    with pytest.raises(ValueError, match="checkpoint_level: expected 0, 1 or 2"):
        ops.chunk_gsa(q, q, q, q, q, checkpoint_level=3)
    with pytest.raises(ValueError, match="expected one gate"):
        ops.fused_recurrent_precond_gated_delta_rule(q, q, q, gv=q)
    with pytest.raises(ValueError, match="expected no cu_seqlens with it"):
        ops.parallel_simple_gla(q, q, q, output_attentions=True, cu_seqlens=torch.tensor([0, 4]))
    with pytest.raises(ValueError, match=r"k: expected shape \[1, 8, 2\] and more, 2 steps"):
        gated_delta_product.chunk_gated_delta_product(q, q, q, None, q[..., 0], 2)
    with pytest.raises(ValueError, match="state: expected shape"):
        rwkv4.fused_recurrent_rwkv4(q[0, 0, 0], q[0, 0, 0], q[:, :, 0], q[:, :, 0], torch.zeros(1, 3, K))
    with pytest.raises(NotImplementedError, match="cp_context: expected None"):
        ops.chunk_kda(q, q, q, q, q[..., 0], cp_context=object())
    with pytest.raises(TypeError, match="unexpected keyword argument 'dropout'"):
        ops.chunk_gla(q, q, q, q, dropout=0.1)


def test_hints_change_nothing():
    x = torch.randn(1, 9, H, K)
    offsets = torch.tensor([0, 4, 9])
    plain, _ = ops.chunk_gated_delta_rule(x, x, x, -x[..., 0].abs(), x[..., 0].sigmoid(), cu_seqlens=offsets)
    hinted, _ = ops.chunk_gated_delta_rule(x, x, x, -x[..., 0].abs(), x[..., 0].sigmoid(), cu_seqlens=offsets,
                                           cu_seqlens_cpu=offsets, chunk_indices=torch.zeros(2, 2))
    assert torch.equal(plain, hinted)


def test_every_name_is_there_and_documented():
    for name in ops.__all__:
        op = getattr(ops, name)
        assert callable(op) and op.__doc__, name
    for family in ops._FAMILIES:
        assert getattr(ops, family).__doc__, family
    assert set(ops.__all__) <= set(dir(ops))


def test_what_does_not_exist_yet_says_so():
    with pytest.raises(ImportError, match="fla.ops.parallel_nsa does not exist yet; the families that do: abc, attn"):
        from fla.ops import parallel_nsa  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match="fla.ops.nsa"):
        import fla.ops.nsa  # noqa: F401
    with pytest.raises(AttributeError, match="module 'fla.ops' has no attribute 'chunk_nothing'"):
        ops.chunk_nothing


def test_parts_are_reachable_from_the_package():
    code = ("import sys, fla\n"
            "assert 'torch' not in sys.modules\n"
            "f = fla.ops.gated_delta_rule.chunk_gated_delta_rule\n"
            "assert f is fla.ops.gated_delta_rule.chunk.chunk_gated_delta_rule is fla.ops.chunk_gdn\n"
            "assert fla.ops.kda.chunk.chunk_kda and fla.ops.kda.gate.fused_kda_gate and fla.utils.device\n"
            "assert 'transformers' not in sys.modules\n"
            "import torch\n"
            "print('context', torch.cuda.is_initialized())\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "context False", done.stderr


def test_every_family_of_recurrences_has_a_case():
    covered = {name.split(" ")[0].split(",")[0] for name in CASES}
    left = set(ops._FAMILIES) - covered - {"common", "utils", "generalized_delta_rule"}
    assert not left, left
    assert {"dplr_delta_rule", "iplr_delta_rule"} <= covered


def test_the_package_lists_its_parts():
    assert {"ops", "lang", "utils"} <= set(dir(fla))
