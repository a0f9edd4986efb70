"""HGRN2: a decoder of `HGRN2Attention` and gated feed-forwards, with forget gates bounded from below by depth."""

from __future__ import annotations

from fla.layers.hgrn2 import HGRN2Attention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, FLAPreTrainedModel
from fla.models.hgrn.modeling_hgrn import LowerBounds
from fla.models.hgrn2.configuration_hgrn2 import HGRN2Config
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["HGRN2Block", "HGRN2PreTrainedModel", "HGRN2Model", "HGRN2ForCausalLM"]


class HGRN2Block(Block):
    mixer, renamed = HGRN2Attention, dict(mode="attn_mode")


class HGRN2PreTrainedModel(FLAPreTrainedModel):
    config_class, block = HGRN2Config, HGRN2Block


class HGRN2Model(LowerBounds, HGRN2PreTrainedModel):
    """The decoder: hidden states of tokens."""


class HGRN2ForCausalLM(CausalLM, HGRN2PreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = HGRN2Model
