"""Configurations: defaults, what contradicts, hybrid attention, and being found by the auto classes."""
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hf_small import KINDS, config, small, tokens
from transformers import AutoConfig, AutoModelForCausalLM

import fla.models
from fla.models import GLAConfig, SambaConfig
from fla.models.hybrid import normalize_hybrid_attention_config

PYTHON = Path(fla.models.__file__).parents[2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_survives_json_and_knows_its_type(kind, tmp_path):
    config(kind).save_pretrained(tmp_path)
    read = AutoConfig.from_pretrained(tmp_path)
    assert type(read) is type(config(kind)) and read.model_type == kind
    for name in type(read).defaults:
        got, want = getattr(read, name), getattr(config(kind), name)
        assert got == want or list(got) == list(want), name


def test_arguments_are_those_of_the_table():
    assert GLAConfig(512, 1.0).expand_k == 1.0 and GLAConfig(512).hidden_size == 512
    assert list(inspect.signature(GLAConfig).parameters)[:3] == ["hidden_size", "expand_k", "expand_v"]
    assert GLAConfig(some_other_key=3).some_other_key == 3


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="cannot be True at the same time"):
        GLAConfig(fuse_cross_entropy=True, fuse_linear_cross_entropy=True)
    with pytest.raises(NotImplementedError, match="attnres_block_size"):
        GLAConfig(attnres_block_size=4)
    with pytest.raises(ValueError, match="lower_bound"):
        fla.models.KDAConfig(safe_gate=True)
    with pytest.raises(RuntimeError, match="expand_ratio"):
        fla.models.HGRN2Config(expand_ratio=None, num_heads=None)
    with pytest.raises(NotImplementedError, match="backend"):
        fla.models.MomConfig(mom_backend="other")
    with pytest.raises(ValueError, match="dt_min"):
        fla.models.Mamba2Config(dt_min=1.0, dt_max=0.1)


def test_samba_attends_in_every_other_layer_that_it_has():
    assert SambaConfig(num_hidden_layers=4).attn["layers"] == [1, 3]
    assert SambaConfig().attn["layers"] == [1, 3, 5, 7, 9, 11, 13, 15, 17]
    shorter = SambaConfig(num_hidden_layers=2, hidden_size=64, vocab_size=97)
    shorter.attn = {"layers": [0], "num_heads": 4}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shorter)
    assert [type(b.mixer).__name__ for b in model.backbone.layers] == ["Attention", "Mamba"]


def test_hybrid_attention_is_filled_in_and_checked():
    full = GLAConfig(num_hidden_layers=4, attn={"layers": (1, 3), "num_heads": 8}).attn
    assert full == {"layers": [1, 3], "num_heads": 8, "num_kv_heads": 8, "qkv_bias": False, "window_size": None,
                    "rope_theta": 10000.0}
    two = [{"layers": [0], "num_heads": 4, "window_size": 8}, {"layers": [2], "num_heads": 2}]
    assert [s["num_heads"] for s in normalize_hybrid_attention_config(two, num_hidden_layers=3)] == [4, 2]
    for bad, match in [({"layers": [1]}, "required"), ({"num_heads": 2}, "required"),
                       ({"layers": [9], "num_heads": 2}, "out-of-range"), ({"layers": [1, 1], "num_heads": 2}, "duplicate"),
                       ({"layers": 1, "num_heads": 2}, "list or tuple"), ({"layers": [1], "num_heads": 0}, "positive"),
                       ({"layers": [1], "num_heads": 2, "qkv_bias": 1}, "Boolean"),
                       ({"layers": [1], "num_heads": 2, "rope_theta": -1.0}, "rope_theta"), (3, "dictionary"),
                       ([{"layers": [1], "num_heads": 2}] * 2, "conflicting")]:
        with pytest.raises(ValueError, match=match):
            GLAConfig(num_hidden_layers=4, attn=bad)


@pytest.mark.parametrize("kind", [k for k in KINDS if "attn" in getattr(
    fla.models, f"{fla.models.MODELS[k]}Config").defaults])
@torch.no_grad()
def test_every_model_that_takes_attn_is_a_hybrid(kind):
    """Both layers of both kinds; decoding equals the full forward."""
    hybrid = config(kind, attn={"layers": [1], "num_heads": 4, "num_kv_heads": 2, "window_size": 6})
    model = AutoModelForCausalLM.from_config(hybrid).eval()
    names = [type(m).__name__ for m in model.modules()]
    assert names.count("Attention") == 1
    ids = tokens(2, 14)
    full = model(ids, use_cache=False).logits
    out = model(ids[:, :9], use_cache=True)
    for i in range(9, 14):
        out = model(ids[:, i:i + 1], past_key_values=out.get("past_key_values"), use_cache=True)
    assert (out.logits[:, 0] - full[:, -1]).abs().max() <= 1e-4


def run(code: str) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PYTHON), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True,
                          env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_fla_imports_neither_torch_nor_transformers():
    assert run("import sys, fla; print('transformers' in sys.modules, 'torch' in sys.modules)") == "False False\n"


@pytest.mark.parametrize("order", [
    # Generation loads the auto classes while it is half loaded itself.
    "import fla; from transformers.generation import GenerationMixin; from transformers import AutoConfig",
    "from transformers import AutoConfig; import fla",
    "from fla.models.utils import Cache; from transformers import AutoConfig",
])
def test_the_auto_classes_know_the_models(order):
    """gla is ours alone; mamba is also in transformers, and becomes ours."""
    modules = run(f"{order}; print(*(type(AutoConfig.for_model(m)).__module__ for m in ('gla', 'mamba')))")
    assert modules == "fla.models.gla.configuration_gla fla.models.mamba.configuration_mamba\n"


def test_a_model_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="fla.models has no 'NSAConfig'"):
        fla.models.NSAConfig
    with pytest.raises(ImportError, match="NSAConfig"):
        from fla.models import NSAConfig  # noqa: F401
