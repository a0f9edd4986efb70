"""What is on disk: names and shapes, a round trip, shards, old configurations, the meta device."""
import json

import pytest
import torch
from hf_names import BLOCK, OUTSIDE
from hf_small import KINDS, config, small, tokens, wake
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

import fla.models


def listed(kind: str, vocabulary: int) -> dict:
    """Names and shapes of a model of one layer."""
    prefix, norm = ("backbone", "norm_f") if kind in ("mamba", "mamba2", "samba") else ("model", "norm")
    names = {}
    for entry in BLOCK[kind].split(";"):
        name, shape = entry.split()
        name = name[1:] if name.startswith("=") else f"{name}.weight"
        names[f"{prefix}.layers.0.{name}"] = [int(n) for n in shape.split("x")]
    width = names[next(n for n in names if n.split(".")[-2].endswith("_norm") or n.endswith(".norm.weight"))][0]
    names |= {f"{prefix}.embeddings.weight": [vocabulary, width], f"{prefix}.{norm}.weight": [width],
              "lm_head.weight": [vocabulary, width]}
    # The bounds of the gates are one row a layer.
    return names | {n: ([1, s[1]] if n.endswith("lower_bounds") else s) for n, s in OUTSIDE.get(kind, {}).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_shapes_of_the_default_configuration(kind):
    more = {"ska_attn": {"num_heads": 16}} if kind == "rodimus" else {}
    full = getattr(fla.models, f"{fla.models.MODELS[kind]}Config")(num_hidden_layers=1, **more)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(full)
    got = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert got == listed(kind, full.vocab_size)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_save_and_load(kind, tmp_path):
    """Shards of safetensors give the same logits; what starts at random values keeps those of the checkpoint."""
    model, ids = small(kind), tokens(2, 9)
    model.save_pretrained(tmp_path, max_shard_size="150KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    again, notes = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(notes[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert torch.equal(again.eval()(ids).logits, model(ids).logits)
    assert type(again.config) is type(model.config) and again.config.to_dict().keys() == model.config.to_dict().keys()


@pytest.mark.parametrize("kind", ["gla", "mamba", "rwkv7"])
@torch.no_grad()
def test_the_decoder_alone_loads_from_the_same_files(kind, tmp_path):
    model, ids = small(kind), tokens(1, 9)
    model.save_pretrained(tmp_path)
    decoder = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.equal(model.lm_head(decoder(ids).last_hidden_state), model(ids).logits)


@pytest.mark.parametrize("kind", ["gated_deltanet", "kda", "mamba2", "rwkv7"])
@torch.no_grad()
def test_a_checkpoint_fills_a_model_on_the_meta_device(kind, tmp_path):
    model = small(kind)
    model.save_pretrained(tmp_path)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config(kind))
    assert all(p.is_meta for p in empty.parameters())
    empty.load_state_dict(model.state_dict(), strict=True, assign=True)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, low_cpu_mem_usage=True)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value) and torch.equal(empty.state_dict()[name], value)


@torch.no_grad()
def test_a_parameter_that_a_checkpoint_lacks_gets_its_initial_value(tmp_path):
    model = small("gated_deltanet")
    state = {n: v for n, v in model.state_dict().items() if not n.endswith("0.attn.A_log")}
    model.save_pretrained(tmp_path, state_dict=state)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    A = again.model.layers[0].attn.A_log.exp()
    assert ((A >= 0) & (A <= 16)).all()
    assert torch.equal(again.model.layers[1].attn.A_log, model.model.layers[1].attn.A_log)
    assert torch.equal(again.model.layers[0].attn.dt_bias, model.model.layers[0].attn.dt_bias)


def test_old_keys_of_configurations(tmp_path):
    """time_step_* became dt_*; torch_dtype became dtype; both are read, and the old names still answer."""
    old = {"model_type": "mamba", "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 97, "time_step_rank": 7,
           "time_step_min": 0.01, "time_step_floor": 0.02, "torch_dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(old))
    read = AutoConfig.from_pretrained(tmp_path)
    assert (read.dt_rank, read.dt_min, read.dt_init_floor) == (7, 0.01, 0.02)
    assert (read.time_step_rank, read.time_step_min, read.dtype) == (7, 0.01, torch.bfloat16)
    old = {"model_type": "mamba2", "hidden_size": 64, "vocab_size": 97, "head_dim": 16, "time_step_limit": [0.1, 0.2],
           "rms_norm": False, "num_heads": 3}
    (tmp_path / "config.json").write_text(json.dumps(old))
    read = AutoConfig.from_pretrained(tmp_path)
    assert (list(read.dt_limit), read.rmsnorm, read.num_heads) == ([0.1, 0.2], False, 8)


@torch.no_grad()
def test_a_checkpoint_in_bf16_is_loaded_as_such(tmp_path):
    wake(AutoModelForCausalLM.from_config(config("gla"))).bfloat16().save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, torch_dtype="auto")
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert model(tokens(1, 9)).logits.dtype == torch.bfloat16


@torch.no_grad()
def test_the_first_version_of_rwkv7_had_its_mixes_together():
    layer = small("rwkv7").model.layers[0].attn
    state = dict(layer.state_dict())
    names = ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g")
    state["x_x"] = torch.stack([state.pop(n).flatten() for n in names])
    fresh = type(small("rwkv7"))(config("rwkv7")).model.layers[0].attn
    fresh.load_state_dict(state, strict=True)
    assert all(torch.equal(getattr(fresh, n), getattr(layer, n)) for n in names)


def test_tied_embeddings(tmp_path):
    model = wake(AutoModelForCausalLM.from_config(config("gla", tie_word_embeddings=True)))
    assert model.lm_head.weight is model.model.embeddings.weight
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.model.embeddings.weight
    ids = tokens(1, 9)
    assert torch.equal(again.eval()(ids).logits, model.eval()(ids).logits)
