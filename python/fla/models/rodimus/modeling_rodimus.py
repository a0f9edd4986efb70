"""Rodimus: a decoder of `RodimusAttention`, perhaps with shared-key attention and a feed-forward in each block."""

from __future__ import annotations

import math

import torch
import torch.nn as nn

from fla.layers._gates import fresh
from fla.layers.rodimus import RodimusAttention, SlidingWindowSharedKeyAttention, align_multiple
from fla.layers.rwkv6 import xavier
from fla.models.blocks import from_config, gated_mlp, hybrid_attention, norm
from fla.models.compat import GradientCheckpointingLayer
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.rodimus.configuration_rodimus import RodimusConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["RodimusBlock", "RodimusPreTrainedModel", "RodimusModel", "RodimusForCausalLM"]


class RodimusBlock(GradientCheckpointingLayer):
    """A mixer; rodimus_plus adds shared-key attention and a feed-forward.

    A layer of `attn` is attention and a feed-forward.

    The residual stream is float32 with residual_in_fp32. With
    block_residual_in_fp32 it also stays so between blocks: the hidden states that
    come and go are a pair (the branch's output, the residual).
    """

    def __init__(self, config, layer_idx: int):
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.block_type, self.residual_in_fp32 = config.block_type, config.residual_in_fp32
        self.block_residual_in_fp32 = config.block_residual_in_fp32
        attention = hybrid_attention(config, layer_idx)
        self._is_attention = attention is not None
        if self._is_attention:
            self.attn_norm, self.attn = norm(config), attention
        else:
            self.mixer_norm = norm(config)
            self.mixer = from_config(RodimusAttention, config, layer_idx, mode="attn_mode")
        if config.block_type == "rodimus_plus" and not self._is_attention:
            if config.ska_attn is None:
                raise ValueError("RodimusConfig: block_type rodimus_plus needs ska_attn with its num_heads")
            self.ska_attn_norm = norm(config)
            self.ska_attn = SlidingWindowSharedKeyAttention(
                hidden_size=config.hidden_size, max_position_embeddings=config.max_position_embeddings,
                layer_idx=layer_idx,
                **{n: config.ska_attn[n] for n in ("num_heads", "qkv_bias", "qk_norm", "window_size", "rope_theta")})
        if config.block_type == "rodimus_plus" or self._is_attention:
            self.mlp_norm = norm(config)
            width = config.intermediate_size
            if width is None:
                width = align_multiple(int(config.hidden_ratio * config.hidden_size), 8)
            self.mlp = gated_mlp(config, hidden_ratio=None, intermediate_size=width)

    def _add(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        x = x if residual is None else residual + x
        return x.float() if self.residual_in_fp32 else x

    def _enter(self, norm: nn.Module, x: torch.Tensor, residual: torch.Tensor | None):
        """(norm(x + residual), x + residual), the norm in the dtype of its weight."""
        stream = self._add(x, residual)
        if residual is None or not self.config.fuse_norm:      # PyTorch's norm has one dtype
            return norm(stream.to(x.dtype)), stream
        return norm(stream).to(x.dtype), stream

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, residual=None, **kwargs):
        options = dict(attention_mask=attention_mask, use_cache=use_cache, output_attentions=output_attentions)
        if self._is_attention:
            x, residual = self._enter(self.attn_norm, hidden_states, residual)
            x, attentions, past_key_values = self.attn(x, past_key_values=past_key_values, **options, **kwargs)
        else:
            x, residual = self._enter(self.mixer_norm, hidden_states, residual)
            x, attentions, past_key_values = self.mixer(x, past_key_values=past_key_values, **options, **kwargs)
            if self.block_type == "rodimus_plus":
                past_key_values, states = past_key_values
                x, residual = self._enter(self.ska_attn_norm, x, residual)
                x, attentions, past_key_values = self.ska_attn(x, past_key_values=past_key_values,
                                                               rodimus_caches=states, **options, **kwargs)
        if hasattr(self, "mlp"):
            x, residual = self._enter(self.mlp_norm, x, residual)
            x = self.mlp(x)
        if self.block_residual_in_fp32:
            return x, attentions, past_key_values, residual
        return (residual + x).to(x.dtype), attentions, past_key_values


class RodimusPreTrainedModel(FLAPreTrainedModel):
    config_class, block = RodimusConfig, RodimusBlock

    @torch.no_grad()
    def _init_weights(self, module: nn.Module, **kwargs) -> None:
        super()._init_weights(module, **kwargs)
        if isinstance(module, RodimusAttention):
            self._init_gates(module)

    def _init_gates(self, mixer: RodimusAttention) -> None:
        """Gates that forget between 0.1 and 10 % a token at first, with temperatures from 1/16 to 0.9."""
        low, high = 1 - 0.999, 1 - 0.9
        for linear in (mixer.i_gate_proj[0], mixer.i_gate_proj[1], mixer.g_gate_proj, mixer.tau_gate_proj):
            fresh(linear.weight, xavier(linear.weight))

        def forget():
            rate = torch.exp(torch.rand(mixer.mem_size) * (math.log(high) - math.log(low)) + math.log(low))
            rate = rate.clamp(min=1e-4)
            return rate + torch.log(-torch.expm1(-rate))
        fresh(mixer.g_gate_proj.bias, forget)
        fresh(mixer.tau_gate_proj.bias, lambda: torch.logit(torch.empty(mixer.mem_size).uniform_(1 / 16, 0.9)))


class RodimusModel(Decoder, RodimusPreTrainedModel):
    """The decoder: hidden states of tokens."""

    def __init__(self, config):
        if config.block_residual_in_fp32:
            config.residual_in_fp32 = True
        super().__init__(config)

    def begin(self, hidden_states: torch.Tensor) -> dict:
        return {"residual": None}

    def layer_arguments(self, carried: dict, layer_idx: int) -> dict:
        return dict(carried)

    def carry(self, carried: dict, more: tuple) -> None:
        if self.config.block_residual_in_fp32:
            carried["residual"] = more[0]

    def finish(self, hidden_states: torch.Tensor, carried: dict) -> torch.Tensor:
        if carried["residual"] is None:
            return self.norm(hidden_states)
        return self.norm(carried["residual"] + hidden_states).to(hidden_states.dtype)


class RodimusForCausalLM(CausalLM, RodimusPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = RodimusModel
