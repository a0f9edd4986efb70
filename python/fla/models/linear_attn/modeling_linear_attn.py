"""Linear attention: a decoder of `LinearAttention` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.linear_attn import LinearAttention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.linear_attn.configuration_linear_attn import LinearAttentionConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["LinearAttentionBlock", "LinearAttentionPreTrainedModel",
           "LinearAttentionModel", "LinearAttentionForCausalLM"]


class LinearAttentionBlock(Block):
    mixer, renamed = LinearAttention, dict(mode="attn_mode", do_feature_map_norm="norm_feature_map")


class LinearAttentionPreTrainedModel(FLAPreTrainedModel):
    config_class, block = LinearAttentionConfig, LinearAttentionBlock


class LinearAttentionModel(Decoder, LinearAttentionPreTrainedModel):
    """The decoder: hidden states of tokens."""


class LinearAttentionForCausalLM(CausalLM, LinearAttentionPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = LinearAttentionModel
