"""transformers' own Qwen3-Next on our operators, on a CPU."""
import sys
import time

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import fla


def qwen3_next():
    sizes = dict(hidden_size=64, num_hidden_layers=4, vocab_size=97, intermediate_size=64, head_dim=16,
                 num_attention_heads=4, num_key_value_heads=2, linear_num_value_heads=4, linear_num_key_heads=2,
                 linear_key_head_dim=16, linear_value_head_dim=16, num_experts=4, num_experts_per_tok=2,
                 moe_intermediate_size=32, shared_expert_intermediate_size=32)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3_next", **sizes)).eval()
    # Newer releases take our operators at their import: put back the reference in PyTorch.
    module = sys.modules[type(model).__module__]
    for name in ("torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule"):
        function = getattr(module, name)
        setattr(module, name, getattr(function, "__wrapped__", function))
    return model


@torch.no_grad()
def test_qwen3_next_computes_the_same_on_our_operators():
    model, ids = qwen3_next(), torch.randint(3, 97, (2, 300))
    options = dict(max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)

    def timed():
        model(ids)
        start = time.perf_counter()
        return model(ids).logits, time.perf_counter() - start
    want, before = timed()
    generated = model.generate(ids[:, :20], **options)
    run = fla.accelerate(model)
    got, after = timed()
    assert (got - want).abs().max() <= 1e-4
    assert model.generate(ids[:, :20], **options).tolist() == generated.tolist()
    # Three of the four layers: two timed prefills and generate's own, then its seven steps.
    assert run.calls == {"chunk_gated_delta_rule": 9, "fused_recurrent_gated_delta_rule": 21}
    print(f"prefill of 300 tokens: {before / after:.1f} times the speed of the reference")
    run.restore()
    assert (model(ids).logits - want).abs().max() == 0 and run.calls["chunk_gated_delta_rule"] == 9


def test_a_model_without_such_layers_is_refused():
    from hf_small import small
    with pytest.raises(ValueError, match="no gated delta rule"):
        fla.accelerate(small("gla"))
