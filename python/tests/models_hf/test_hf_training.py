"""Losses, gradients, checkpointed layers, and that models learn."""
import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hf_small import KINDS, config, small, tokens, wake
from transformers import AutoModelForCausalLM


def reference_loss(model, ids):
    logits = model(ids, use_cache=False).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_predicts_the_next_token_and_reaches_every_parameter(kind):
    model, ids = copy.deepcopy(small(kind)).train(), tokens(2, 17)
    out = model(ids, labels=ids)
    out.loss.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    with torch.no_grad():
        aux = 0.0 if out.get("aux_loss") is None else model.scale_aux_loss(out["aux_loss"])
        assert abs(out.loss - aux - reference_loss(model, ids)) < 1e-4


@pytest.mark.parametrize("fused", ["fuse_cross_entropy", "fuse_linear_cross_entropy", None])
def test_kinds_of_loss_agree(fused):
    flags = {name: name == fused for name in ("fuse_cross_entropy", "fuse_linear_cross_entropy")}
    model = AutoModelForCausalLM.from_config(config("gla", **flags))
    model.load_state_dict(small("gla").state_dict())
    ids = tokens(2, 9)
    labels = ids.masked_fill(torch.rand(2, 9) < 0.3, -100)
    out = model(ids, labels=labels)
    assert (out.logits is None) == (fused == "fuse_linear_cross_entropy")
    want = F.cross_entropy(small("gla")(ids).logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert abs(out.loss - want) < 1e-4
    out.loss.backward()
    assert model.lm_head.weight.grad.abs().sum() > 0


def test_labels_that_are_shifted_already_and_a_criterion_of_the_caller():
    model, ids = small("rwkv7"), tokens(2, 9)
    shifted = torch.cat([ids[:, 1:], torch.full((2, 1), -100)], 1)
    assert torch.equal(model(ids, labels=ids).loss, model(ids, shift_labels=shifted).loss)
    model = copy.deepcopy(small("gla"))
    model.criterion = torch.nn.CrossEntropyLoss(reduction="sum")
    assert abs(model(ids, labels=ids).loss - 16 * reference_loss(model, ids)) < 1e-3


@pytest.mark.parametrize("kind", ["gla", "gated_deltanet", "mamba2", "mom", "rodimus", "rwkv7", "samba"])
def test_gradients_are_the_same_with_checkpointed_layers(kind):
    ids = tokens(2, 17)
    grads = []
    for checkpointed in (False, True):
        model = copy.deepcopy(small(kind)).train()
        if checkpointed:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model(ids, labels=ids).loss.backward()
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads))


@torch.no_grad()
def test_unfused_norms_and_activations_give_the_same():
    ids = tokens(2, 9)
    for kind in ("gla", "rwkv6", "rodimus"):
        plain = AutoModelForCausalLM.from_config(config(kind, fuse_norm=False, fuse_swiglu=False)).eval()
        state = {n.replace("g_norm_swish_gate", "g_norm"): v for n, v in small(kind).state_dict().items()}
        plain.load_state_dict(state, strict=True)
        assert torch.allclose(plain(ids).logits, small(kind)(ids).logits, atol=1e-5)


@torch.no_grad()
def test_hidden_states_tuples_and_embeddings():
    model, ids = small("gla"), tokens(2, 9)
    out = model(ids, output_hidden_states=True)
    assert len(out.hidden_states) == 3
    assert torch.allclose(model.lm_head(out.hidden_states[-1]), out.logits)
    as_tuple = model(ids, return_dict=False, use_cache=False)
    assert isinstance(as_tuple, tuple) and torch.equal(as_tuple[0], out.logits)
    assert torch.equal(model(inputs_embeds=model.get_input_embeddings()(ids)).logits, out.logits)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model()
    with pytest.raises(ValueError, match="both input_ids and inputs_embeds"):
        model(ids, inputs_embeds=model.get_input_embeddings()(ids))


@torch.no_grad()
def test_rodimus_keeps_a_float32_residual_between_blocks():
    ids = tokens(2, 9)
    wide = AutoModelForCausalLM.from_config(config("rodimus", block_residual_in_fp32=True)).eval()
    wide.load_state_dict(small("rodimus").state_dict())
    assert torch.allclose(wide(ids).logits, small("rodimus")(ids).logits, atol=1e-5)


def train(model, steps: int) -> list[float]:
    """Losses of a model that reads the project's licence, byte by byte."""
    text = torch.tensor(list((Path(__file__).parents[3] / "LICENSE").read_bytes()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        starts = torch.randint(0, len(text) - 65, (8,))
        ids = torch.stack([text[s:s + 65] for s in starts])
        loss = model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def assert_learns(kind, steps, **changed):
    losses = train(AutoModelForCausalLM.from_config(config(kind, vocab_size=128, **changed)).train(), steps)
    assert sum(losses[-5:]) / 5 < 0.8 * losses[0], losses


def test_a_hybrid_model_learns():
    assert_learns("gla", 25, attn={"layers": [1], "num_heads": 4, "window_size": 32})


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_every_model_learns(kind):
    assert_learns(kind, 50)
