"""RWKV-6: a decoder of `RWKV6Attention` and squared-ReLU feed-forwards that look one token back."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.layers._call import Call
from fla.layers.rwkv6 import LerpLinear, RWKV6Attention, previous_difference
from fla.models.blocks import Block, from_config, hybrid_attention
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.rwkv6.configuration_rwkv6 import RWKV6Config
from fla.models.utils import FLAUnsupportedCacheGenerationMixin
from fla.modules import LayerNorm
from fla.modules.activations import ACT2FN

__all__ = ["RWKV6Block", "RWKV6FeedForward", "RWKV6PreTrainedModel", "RWKV6Model", "RWKV6ForCausalLM", "RWKVBlock",
           "feed_forward_width", "layer_norm"]


def layer_norm(config) -> nn.Module:
    """A layer norm: this package's, or PyTorch's where the configuration has fuse_norm=False."""
    return (LayerNorm if config.fuse_norm else nn.LayerNorm)(config.hidden_size, bias=config.norm_bias,
                                                            eps=config.norm_eps)


def feed_forward_width(hidden_size: int, hidden_ratio: float, intermediate_size: int | None) -> int:
    """The width that is given, or hidden_size * hidden_ratio in multiples of 32."""
    return intermediate_size if intermediate_size is not None else -(-int(hidden_size * hidden_ratio) // 32) * 32


class RWKV6FeedForward(nn.Module):
    """sigmoid(receptance) * value(act(key)), key and receptance of the token mixed with the one before it."""

    def __init__(self, hidden_size: int, hidden_ratio: float | None = None, intermediate_size: int | None = None,
                 hidden_act: str = "sqrelu", layer_idx: int | None = None):
        super().__init__()
        self.hidden_size, self.layer_idx = hidden_size, layer_idx
        self.hidden_ratio = 3.5 if hidden_ratio is None else hidden_ratio
        self.intermediate_size = feed_forward_width(hidden_size, self.hidden_ratio, intermediate_size)
        self.time_shift = nn.ZeroPad2d((0, 0, 1, -1))
        self.key = LerpLinear(hidden_size, self.intermediate_size)
        self.value = nn.Linear(self.intermediate_size, hidden_size, bias=False)
        self.receptance = LerpLinear(hidden_size, hidden_size)
        self.act_fn = ACT2FN[hidden_act]

    def forward(self, x: torch.Tensor, attention_mask: torch.Tensor | None = None, state=None,
                cu_seqlens: torch.Tensor | None = None, **kwargs):
        call = Call(self, x, attention_mask, state, cu_seqlens)
        delta, last = previous_difference(call.x, call, call.state.get("ffn_state"))
        value = self.value(self.act_fn(self.key(call.x, delta)))
        call.save_more(ffn_state=last)
        return call.unpack(self.receptance(call.x, delta).sigmoid() * value), state


class RWKVBlock(Block):
    """attn_norm, attn, ffn_norm, ffn; the first one normalises the embeddings too."""

    def __init__(self, config, layer_idx: int):
        super(Block, self).__init__()
        self.config, self.layer_idx = config, layer_idx
        if config.norm_first and layer_idx == 0:
            self.pre_norm = layer_norm(config)
        self.attn_norm = layer_norm(config)
        self.attn = hybrid_attention(config, layer_idx) or self.make_mixer(config, layer_idx)
        self.ffn_norm = layer_norm(config)
        self.ffn = self.make_feed_forward(config, layer_idx)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        residual = self.pre_norm(hidden_states) if hasattr(self, "pre_norm") else hidden_states
        mixed, attentions, past_key_values, *more = self.attn(
            self.attn_norm(residual), attention_mask=attention_mask, past_key_values=past_key_values,
            use_cache=use_cache, output_attentions=output_attentions, **kwargs)
        x, residual = self.add_and_norm(self.ffn_norm, mixed, residual)
        x, past_key_values = self.ffn(x, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        return residual + x, attentions, past_key_values, *more


class RWKV6Block(RWKVBlock):
    mixer, renamed = RWKV6Attention, dict(mode="attn_mode")

    def make_feed_forward(self, config, layer_idx: int) -> nn.Module:
        return from_config(RWKV6FeedForward, config, layer_idx)


class RWKV6PreTrainedModel(FLAPreTrainedModel):
    config_class, block = RWKV6Config, RWKV6Block


class RWKV6Model(Decoder, RWKV6PreTrainedModel):
    """The decoder: hidden states of tokens."""

    def make_norm(self, config) -> nn.Module:
        return layer_norm(config)


class RWKV6ForCausalLM(CausalLM, RWKV6PreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = RWKV6Model
