"""GLA: a decoder of `GatedLinearAttention` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.gla import GatedLinearAttention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.gla.configuration_gla import GLAConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["GLABlock", "GLAPreTrainedModel", "GLAModel", "GLAForCausalLM"]


class GLABlock(Block):
    mixer, renamed = GatedLinearAttention, dict(mode="attn_mode", gate_fn="hidden_act")


class GLAPreTrainedModel(FLAPreTrainedModel):
    config_class, block = GLAConfig, GLABlock


class GLAModel(Decoder, GLAPreTrainedModel):
    """The decoder: hidden states of tokens."""


class GLAForCausalLM(CausalLM, GLAPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = GLAModel
