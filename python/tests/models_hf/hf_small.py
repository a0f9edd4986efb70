"""Small models of every kind, made once."""
import functools

import torch

import fla.models
from transformers import AutoModelForCausalLM

VOCABULARY = 97
_COMMON = dict(hidden_size=64, num_hidden_layers=2, vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2)
SMALL = {
    "abc": dict(num_heads=4, num_slots=8),
    "bitnet": dict(num_heads=4, num_kv_heads=2),
    "comba": dict(num_heads=2, head_dim=16),
    "delta_net": dict(num_heads=4),
    "gated_deltanet": dict(num_heads=2, num_v_heads=4, head_dim=16),
    "gated_deltaproduct": dict(num_heads=2, head_dim=16, num_householder=2, use_forget_gate=True),
    "gla": dict(num_heads=4, num_kv_heads=2, use_short_conv=True),
    "gsa": dict(num_heads=4, num_slots=8),
    "hgrn": dict(use_short_conv=True),
    "hgrn2": dict(expand_ratio=16),
    "kda": dict(num_heads=2, head_dim=16),
    "lightnet": dict(expand_ratio=16),
    "linear_attn": dict(num_heads=4),
    "mamba": dict(),
    "mamba2": dict(head_dim=16, state_size=16, n_groups=2),
    "mom": dict(num_heads=2, head_dim=16),
    "retnet": dict(num_heads=4),
    "rodimus": dict(expand_ratio=16, ska_attn=dict(num_heads=4, window_size=8)),
    "rwkv6": dict(num_heads=4),
    "rwkv7": dict(head_dim=16),
    "samba": dict(attn=dict(layers=[1], num_heads=4, num_kv_heads=2, window_size=8)),
    "transformer": dict(num_heads=4, num_kv_heads=2, qk_norm=True, window_size=11),
}
KINDS = sorted(SMALL)
assert KINDS == sorted(fla.models.MODELS)


def config(kind: str, **changed):
    stem = fla.models.MODELS[kind]
    return getattr(fla.models, f"{stem}Config")(**{**_COMMON, **SMALL[kind], **changed})


def wake(model):
    """Values for what starts at zero, so that every path carries something."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    return model


@functools.lru_cache(maxsize=None)
def small(kind: str):
    """A model of random weights, in evaluation mode; its tests must leave it as it is."""
    torch.manual_seed(sum(map(ord, kind)))
    return wake(AutoModelForCausalLM.from_config(config(kind))).eval()


def tokens(batch: int, length: int) -> torch.Tensor:
    """Tokens without the padding token and the ends."""
    return torch.randint(3, VOCABULARY, (batch, length))


def cache_of(out):
    """The cache of an output, whatever this release of transformers calls it."""
    return out.cache if "cache" in out.keys() else out.past_key_values


# BitNet quantises activations to 8 bits: a last-bit difference may move one to the next step.
def tolerance(kind: str, dtype=torch.float32) -> float:
    return {torch.float32: 5e-3 if kind == "bitnet" else 1e-4, torch.bfloat16: 2e-2}[dtype]
