"""RWKV-7: a decoder of `RWKV7Attention` and squared-ReLU feed-forwards that look one token back."""

from __future__ import annotations

import math

import torch
import torch.nn as nn

from fla.layers._call import Call
from fla.layers._gates import fresh
from fla.layers.rwkv6 import previous_difference
from fla.layers.rwkv7 import RWKV7Attention
from fla.models.blocks import from_config
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.rwkv6.modeling_rwkv6 import RWKVBlock, feed_forward_width, layer_norm
from fla.models.rwkv7.configuration_rwkv7 import RWKV7Config
from fla.models.utils import FLAUnsupportedCacheGenerationMixin
from fla.modules.activations import ACT2FN

__all__ = ["RWKV7Block", "RWKV7FeedForward", "RWKV7PreTrainedModel", "RWKV7Model", "RWKV7ForCausalLM"]


class RWKV7FeedForward(nn.Module):
    """value(act(key(x_t + x_k (x_{t-1} - x_t))))."""

    def __init__(self, hidden_size: int, hidden_ratio: float | None = None, intermediate_size: int | None = None,
                 hidden_act: str = "sqrelu", layer_idx: int | None = None, num_hidden_layers: int | None = None):
        super().__init__()
        self.hidden_size, self.layer_idx, self.num_hidden_layers = hidden_size, layer_idx, num_hidden_layers
        self.hidden_ratio = 4 if hidden_ratio is None else hidden_ratio
        self.intermediate_size = feed_forward_width(hidden_size, self.hidden_ratio, intermediate_size)
        self.time_shift = nn.ZeroPad2d((0, 0, 1, -1))
        self.x_k = nn.Parameter(torch.zeros(hidden_size))
        self.key = nn.Linear(hidden_size, self.intermediate_size, bias=False)
        self.value = nn.Linear(self.intermediate_size, hidden_size, bias=False)
        self.act_fn = ACT2FN[hidden_act]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.layer_idx is not None and self.num_hidden_layers is not None:
            rest = 1.0 - self.layer_idx / self.num_hidden_layers
            fresh(self.x_k, 1.0 - (torch.arange(self.hidden_size) / self.hidden_size) ** rest ** 4)
        fresh(self.key.weight, lambda: nn.init.orthogonal_(torch.empty(self.key.weight.shape)))
        fresh(self.value.weight, 0.0)

    def forward(self, x: torch.Tensor, attention_mask: torch.Tensor | None = None, state=None,
                cu_seqlens: torch.Tensor | None = None, **kwargs):
        call = Call(self, x, attention_mask, state, cu_seqlens)
        delta, last = previous_difference(call.x, call, call.state.get("ffn_state"))
        call.save_more(ffn_state=last)
        return call.unpack(self.value(self.act_fn(self.key(call.x.addcmul(delta, self.x_k))))), state


class RWKV7Block(RWKVBlock):
    mixer, renamed = RWKV7Attention, dict(mode="attn_mode")

    def make_mixer(self, config, layer_idx: int) -> nn.Module:
        return from_config(self.mixer, config, layer_idx, **self.renamed, value_dim=config.value_dim[layer_idx])

    def make_feed_forward(self, config, layer_idx: int) -> nn.Module:
        return from_config(RWKV7FeedForward, config, layer_idx)


class RWKV7PreTrainedModel(FLAPreTrainedModel):
    config_class, block = RWKV7Config, RWKV7Block

    @torch.no_grad()
    def _init_weights(self, module: nn.Module, **kwargs) -> None:
        if isinstance(module, nn.Embedding):
            fresh(module.weight, lambda: torch.empty(module.weight.shape).uniform_(-1e-4, 1e-4))
        elif isinstance(module, nn.Linear) and module is getattr(self, "lm_head", None):
            vocabulary, width = module.weight.shape
            gain = 0.5 * math.sqrt(max(1.0, vocabulary / width))
            fresh(module.weight, lambda: nn.init.orthogonal_(torch.empty(module.weight.shape), gain=gain))
        else:
            super()._init_weights(module, **kwargs)


class RWKV7Model(Decoder, RWKV7PreTrainedModel):
    """The decoder: hidden states of tokens."""

    def make_norm(self, config) -> nn.Module:
        return layer_norm(config)

    def begin(self, hidden_states: torch.Tensor) -> dict:
        return {"v_first": torch.zeros_like(hidden_states)}      # the first layer replaces it

    def layer_arguments(self, carried: dict, layer_idx: int) -> dict:
        return dict(carried)

    def carry(self, carried: dict, more: tuple) -> None:
        if more:
            carried["v_first"] = more[0]


class RWKV7ForCausalLM(CausalLM, RWKV7PreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = RWKV7Model
