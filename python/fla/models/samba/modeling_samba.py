"""Samba: a decoder of `Mamba`, windowed `Attention` and gated feed-forwards."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.layers.mamba import Mamba
from fla.models.blocks import Block, from_config, gated_mlp, hybrid_attention, norm
from fla.models.decoder import CausalLM, FLAPreTrainedModel
from fla.models.mamba.modeling_mamba import Backbone, rescale_output
from fla.models.samba.configuration_samba import SambaConfig
from fla.models.utils import FLAGenerationMixin
from fla.modules import RMSNorm

__all__ = ["SambaBlock", "SambaPreTrainedModel", "SambaModel", "SambaForCausalLM"]

_MAMBA = dict(dt_rank="time_step_rank", dt_min="time_step_min", dt_max="time_step_max", dt_scale="time_step_scale",
              dt_init="time_step_init_scheme", dt_init_floor="time_step_floor")


class SambaBlock(Block):
    """mixer_norm, mixer, mlp_norm, mlp."""

    def __init__(self, config, layer_idx: int):
        super(Block, self).__init__()
        self.config, self.layer_idx = config, layer_idx
        self.mixer_norm = RMSNorm(config.hidden_size, eps=config.norm_eps, dtype=torch.float32)
        self.mixer = hybrid_attention(config, layer_idx) or from_config(Mamba, config, layer_idx, **_MAMBA)
        self.mlp_norm = norm(config)
        self.mlp = gated_mlp(config, intermediate_size=None)      # the configuration's is of Mamba

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        mixed, attentions, past_key_values = self.mixer(
            self.mixer_norm(hidden_states), attention_mask=attention_mask, past_key_values=past_key_values,
            use_cache=use_cache, output_attentions=output_attentions, **kwargs)
        x, residual = self.add_and_norm(self.mlp_norm, mixed, hidden_states)
        return residual + self.mlp(x), attentions, past_key_values


class SambaPreTrainedModel(FLAPreTrainedModel):
    config_class, block, base_model_prefix = SambaConfig, SambaBlock, "backbone"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module, **kwargs) -> None:
        super()._init_weights(module, **kwargs)
        if self.config.rescale_prenorm_residual:
            rescale_output(module, self.config.num_hidden_layers)


class SambaModel(Backbone, SambaPreTrainedModel):
    """The decoder: hidden states of tokens."""


class SambaForCausalLM(CausalLM, SambaPreTrainedModel, FLAGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = SambaModel
