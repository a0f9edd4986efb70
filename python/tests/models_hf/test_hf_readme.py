"""The examples that flash-linear-attention's readme gives, with small sizes; with its own sizes where marked long.

What is printed there is compared, too: module trees, and the configurations' keys, of which there may be more.
"""
import pytest
import torch
from hf_small import tokens

import fla  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer

GLA_KEYS = """
    attn attn_mode bos_token_id clamp_min conv_size elementwise_affine eos_token_id expand_k expand_v feature_map
    fuse_cross_entropy fuse_norm fuse_swiglu hidden_act hidden_ratio hidden_size initializer_range intermediate_size
    max_position_embeddings model_type norm_eps num_heads num_hidden_layers num_kv_heads tie_word_embeddings
    transformers_version use_cache use_gk use_gv use_output_gate use_short_conv vocab_size
"""
SAMBA_KEYS = """
    attn bos_token_id conv_kernel eos_token_id expand fuse_cross_entropy fuse_norm fuse_swiglu hidden_act hidden_ratio
    hidden_size initializer_range intermediate_size max_position_embeddings model_type norm_eps num_hidden_layers
    pad_token_id rescale_prenorm_residual residual_in_fp32 state_size tie_word_embeddings time_step_floor
    time_step_init_scheme time_step_max time_step_min time_step_rank time_step_scale transformers_version use_bias
    use_cache use_conv_bias vocab_size
"""
LINEAR = "Linear(in_features={}, out_features={}, bias={})".format
MLP = """
(mlp): GatedMLP(
(gate_proj): {up}
(up_proj): {up}
(down_proj): {down}
(swiglu_linear): SwiGLULinear()
)
"""


def lines(text: str) -> list[str]:
    """A printed tree without its indentation."""
    return [line.strip() for line in text.strip().splitlines()]


def contains(model, part: str) -> bool:
    """Whether a part of a tree is printed, in one piece."""
    whole, part = lines(repr(model)), lines(part)
    return any(whole[i:i + len(part)] == part for i in range(len(whole)))


def keys(config) -> set[str]:
    return set(config.to_dict()) | {"transformers_version", "model_type"}


def retention(batch_size, seq_len, hidden_size, dtype):
    from fla.layers import MultiScaleRetention
    layer = MultiScaleRetention(hidden_size=hidden_size, num_heads=4).to(device="cpu", dtype=dtype)
    x = torch.randn(batch_size, seq_len, hidden_size).to(device="cpu", dtype=dtype)
    y, *_ = layer(x)
    assert y.shape == torch.Size([batch_size, seq_len, hidden_size]) and y.isfinite().all()


def test_a_layer_prints_as_there():
    from fla.layers import MultiScaleRetention
    assert lines(repr(MultiScaleRetention(hidden_size=1024, num_heads=4))) == lines(f"""
        MultiScaleRetention(
        (q_proj): {LINEAR(1024, 1024, False)}
        (k_proj): {LINEAR(1024, 1024, False)}
        (v_proj): {LINEAR(1024, 2048, False)}
        (g_proj): {LINEAR(1024, 2048, False)}
        (o_proj): {LINEAR(2048, 1024, False)}
        (g_norm_swish_gate): FusedRMSNormGated(512, eps=1e-05, activation=swish)
        (rotary): RotaryEmbedding(dim=256, base=10000.0, interleaved=False, pos_idx_in_fp32=True)
        )
    """)


@pytest.mark.parametrize("sizes", [(2, 70, 64), pytest.param((32, 2048, 1024), marks=pytest.mark.long)])
def test_a_layer(sizes):
    retention(*sizes, torch.bfloat16)


def test_gla_from_its_configuration():
    from fla.models import GLAConfig
    config = GLAConfig()
    assert set(GLA_KEYS.split()) <= keys(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert contains(model, f"""
        GLAForCausalLM(
        (model): GLAModel(
        (embeddings): Embedding(32000, 2048)
        (layers): ModuleList(
        (0-23): 24 x GLABlock(
        (attn_norm): RMSNorm(2048, eps=1e-06)
        (attn): GatedLinearAttention(
        (q_proj): {LINEAR(2048, 1024, False)}
        (k_proj): {LINEAR(2048, 1024, False)}
        (v_proj): {LINEAR(2048, 2048, False)}
        (g_proj): {LINEAR(2048, 2048, False)}
        (gk_proj): Sequential(
        (0): {LINEAR(2048, 16, False)}
        (1): {LINEAR(16, 1024, True)}
        )
        (o_proj): {LINEAR(2048, 2048, False)}
        (g_norm_swish_gate): FusedRMSNormGated(512, eps=1e-06, activation=swish)
        )
        (mlp_norm): RMSNorm(2048, eps=1e-06)
    """ + MLP.strip().format(up=LINEAR(2048, 5632, False), down=LINEAR(5632, 2048, False)))
    assert contains(model, f"(norm): RMSNorm(2048, eps=1e-06)\n)\n(lm_head): {LINEAR(2048, 32000, False)}\n)")


def words(folder) -> None:
    """A small tokenizer, beside a model in its folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    text = "Power goes with permanence. Impermanence is impotence. And rotation is castration."
    names = ["<unk>", "<s>", "</s>", *sorted(set(text.replace(".", " .").split()))]
    raw = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>").save_pretrained(folder)


@pytest.mark.parametrize("sizes", [dict(hidden_size=64, num_hidden_layers=2), pytest.param(dict(num_hidden_layers=2), marks=pytest.mark.long)])
def test_generation_from_a_folder(tmp_path, sizes):
    from fla.models import GLAConfig
    AutoModelForCausalLM.from_config(GLAConfig(vocab_size=32, **sizes)).save_pretrained(tmp_path)
    words(tmp_path)
    name = str(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name)
    assert type(model).__module__.startswith("fla.models")
    input_ids = tokenizer("Power goes with permanence. And rotation is castration.", return_tensors="pt").input_ids
    outputs = model.generate(input_ids, max_length=64)
    assert input_ids.shape[1] < outputs.shape[1] <= 64 and outputs[0, :input_ids.shape[1]].tolist() == input_ids[0].tolist()
    assert tokenizer.batch_decode(outputs, skip_special_tokens=True)[0].startswith("Power goes with permanence")


def samba(**sizes):
    """Its configuration with the attention layers that are set afterwards, as there."""
    from fla.models import SambaConfig
    config = SambaConfig(num_hidden_layers=2, **sizes)
    heads = config.hidden_size // 128
    config.attn = {"layers": [1], "num_heads": heads, "num_kv_heads": heads, "qkv_bias": False, "rope_theta": 10000., "window_size": 2048}
    return config


def test_samba_prints_as_there():
    config = samba()
    assert set(SAMBA_KEYS.split()) <= keys(config)
    assert config.to_dict()["attn"] == {"layers": [1], "num_heads": 18, "num_kv_heads": 18, "qkv_bias": False, "rope_theta": 10000.0,
                                        "window_size": 2048}
    expected = dict(conv_kernel=4, expand=2, hidden_act="swish", hidden_ratio=4, hidden_size=2304, intermediate_size=4608, model_type="samba",
                    norm_eps=1e-5, pad_token_id=0, state_size=16, time_step_floor=1e-4, time_step_rank=144, vocab_size=32000)
    assert {name: getattr(config, name) for name in expected} == expected
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    mlp = "(mlp_norm): RMSNorm(2304, eps=1e-05)" + MLP.rstrip().format(up=LINEAR(2304, 6144, False), down=LINEAR(6144, 2304, False))
    assert contains(model, f"""
        SambaForCausalLM(
        (backbone): SambaModel(
        (embeddings): Embedding(32000, 2304)
        (layers): ModuleList(
        (0): SambaBlock(
        (mixer_norm): RMSNorm(2304, eps=1e-05)
        (mixer): Mamba(
        (conv1d): Conv1d(4608, 4608, kernel_size=(4,), stride=(1,), padding=(3,), groups=4608)
        (in_proj): {LINEAR(2304, 9216, False)}
        (x_proj): {LINEAR(4608, 176, False)}
        (dt_proj): {LINEAR(144, 4608, True)}
        (out_proj): {LINEAR(4608, 2304, False)}
        )
        {mlp}
        )
        (1): SambaBlock(
        (mixer_norm): RMSNorm(2304, eps=1e-05)
        (mixer): Attention(
        (q_proj): {LINEAR(2304, 2304, False)}
        (k_proj): {LINEAR(2304, 2304, False)}
        (v_proj): {LINEAR(2304, 2304, False)}
        (o_proj): {LINEAR(2304, 2304, False)}
        (rotary): RotaryEmbedding(dim=128, base=10000.0, interleaved=False, pos_idx_in_fp32=True)
        )
        {mlp}
        )
        )
        (norm_f): RMSNorm(2304, eps=1e-05)
        )
        (lm_head): {LINEAR(2304, 32000, False)}
        )
    """)


@pytest.mark.parametrize("sizes", [dict(hidden_size=256, vocab_size=97), pytest.param({}, marks=pytest.mark.long)])
def test_samba_generates(sizes):
    model, ids = AutoModelForCausalLM.from_config(samba(**sizes)).eval(), tokens(1, 7)
    out = model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert out.shape == (1, 11)
    assert model(ids, labels=ids).loss.isfinite()
