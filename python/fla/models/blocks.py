"""Decoder blocks: a norm and a mixer, a norm and a feed-forward, around a residual stream."""

from __future__ import annotations

import inspect

import torch
import torch.nn as nn

from fla.layers.attn import Attention
from fla.modules import GatedMLP, RMSNorm

from .compat import GradientCheckpointingLayer
from .hybrid import get_hybrid_attention_spec

__all__ = ["Block", "from_config", "gated_mlp", "hybrid_attention", "norm"]


def norm(config, width: int | None = None) -> nn.Module:
    """An RMS norm: this package's, or PyTorch's where the configuration has fuse_norm=False."""
    return (RMSNorm if config.fuse_norm else nn.RMSNorm)(width or config.hidden_size, eps=config.norm_eps)


def from_config(layer: type, config, layer_idx: int, /, **renamed) -> nn.Module:
    """A layer whose arguments are the configuration's keys of the same names.

    renamed: keys of other names, as in mode="attn_mode"; a value that is no
    string is the argument itself.
    """
    given = {"layer_idx": layer_idx}
    for name in inspect.signature(layer).parameters:
        source = renamed.get(name, name)
        if not isinstance(source, str):
            given[name] = source
        elif name != "layer_idx" and hasattr(config, source):
            given[name] = getattr(config, source)
    return layer(**given)


def hybrid_attention(config, layer_idx: int, **more) -> Attention | None:
    """Softmax attention, where the configuration's `attn` has this layer."""
    spec = get_hybrid_attention_spec(getattr(config, "attn", None), layer_idx=layer_idx)
    if spec is None:
        return None
    return Attention(hidden_size=config.hidden_size, num_heads=spec["num_heads"], num_kv_heads=spec["num_kv_heads"],
                     qkv_bias=spec["qkv_bias"], window_size=spec["window_size"], rope_theta=spec["rope_theta"],
                     max_position_embeddings=config.max_position_embeddings, layer_idx=layer_idx,
                     **{name: spec[name] for name in ("qk_norm",) if name in spec}, **more)


def gated_mlp(config, **changed) -> GatedMLP:
    names = ("hidden_ratio", "intermediate_size", "hidden_act", "fuse_swiglu")
    return GatedMLP(hidden_size=config.hidden_size, **{**{n: getattr(config, n) for n in names}, **changed})


class Block(GradientCheckpointingLayer):
    """attn_norm, attn, mlp_norm, mlp. A model says which layer `attn` is:

        class GLABlock(Block):
            mixer, renamed = GatedLinearAttention, dict(mode="attn_mode")

    forward returns (hidden states, attentions, the cache, what else the mixer gave).
    """

    mixer: type
    renamed: dict = {}

    def __init__(self, config, layer_idx: int):
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.attn_norm = norm(config)
        self.attn = hybrid_attention(config, layer_idx) or self.make_mixer(config, layer_idx)
        self.mlp_norm = norm(config)
        self.mlp = self.make_mlp(config)

    def make_mixer(self, config, layer_idx: int) -> nn.Module:
        return from_config(self.mixer, config, layer_idx, **self.renamed)

    def make_mlp(self, config) -> nn.Module:
        return gated_mlp(config)

    def add_and_norm(self, norm: nn.Module, x: torch.Tensor, residual: torch.Tensor):
        """(norm(x + residual), x + residual)."""
        if self.config.fuse_norm:
            return norm(x, residual, True)
        x = residual + x
        return norm(x), x

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        mixed, attentions, past_key_values, *more = self.attn(
            self.attn_norm(hidden_states), attention_mask=attention_mask, past_key_values=past_key_values,
            use_cache=use_cache, output_attentions=output_attentions, **kwargs)
        x, residual = self.add_and_norm(self.mlp_norm, mixed, hidden_states)
        return residual + self.mlp(x), attentions, past_key_values, *more
