"""MoM: a decoder of `MomAttention` and gated feed-forwards, with a loss that balances the memories."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from fla.layers.mom import MomAttention
from fla.models.blocks import Block
from fla.models.compat import BaseModelOutputWithPast, CausalLMOutputWithPast, output
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.mom.configuration_mom import MomConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["MomBlock", "MomPreTrainedModel", "MomModel", "MomForCausalLM", "MomOutputWithPast",
           "MomCausalLMOutputWithPast", "load_balancing_loss_func"]


@dataclass
class MomOutputWithPast(BaseModelOutputWithPast):
    """router_logits: [B * T, num_memories] of each layer that routes."""

    router_logits: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class MomCausalLMOutputWithPast(CausalLMOutputWithPast):
    """aux_loss: the balancing loss, unscaled; loss has it times aux_loss_scale."""

    aux_loss: torch.FloatTensor | None = None
    router_logits: tuple[torch.FloatTensor, ...] | None = None


def load_balancing_loss_func(gate_logits, num_experts: int | None = None, top_k: int = 2,
                             attention_mask: torch.Tensor | None = None):
    """num_experts * sum over experts of (share of choices) * (mean probability): top_k where they are balanced.

    gate_logits: [B * T, num_experts] of each layer; padding of a mask [B, T] does
    not count. W. Fedus, B. Zoph, N. Shazeer, arXiv:2101.03961 (2021), equation 4.
    """
    if not isinstance(gate_logits, tuple) or not gate_logits:
        return 0
    logits = torch.cat([layer.to(gate_logits[0].device) for layer in gate_logits])
    probabilities = logits.softmax(-1)
    experts = logits.shape[-1]
    chosen = F.one_hot(torch.topk(probabilities, top_k, dim=-1).indices, experts).sum(1).to(probabilities.dtype)
    if attention_mask is None:
        share, mean = chosen.mean(0), probabilities.mean(0)
    else:
        weight = attention_mask.reshape(-1).repeat(len(gate_logits)).to(probabilities)[:, None]
        share, mean = ((x * weight).sum(0) / weight.sum() for x in (chosen, probabilities))
    return (share * mean).sum() * experts


class MomBlock(Block):
    mixer, renamed = MomAttention, dict(mode="attn_mode")


class MomPreTrainedModel(FLAPreTrainedModel):
    config_class, block = MomConfig, MomBlock


class MomModel(Decoder, MomPreTrainedModel):
    """The decoder: hidden states of tokens, and the routers' logits."""

    def begin(self, hidden_states: torch.Tensor) -> dict:
        return {"router_logits": ()}

    def carry(self, carried: dict, more: tuple) -> None:
        carried["router_logits"] += more

    def make_output(self, carried: dict, past, **fields):
        return output(MomOutputWithPast, past, **fields, router_logits=carried["router_logits"])


class MomForCausalLM(CausalLM, MomPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head and the balancing loss."""

    decoder, output_kind = MomModel, MomCausalLMOutputWithPast

    def extra_loss(self, outputs, attention_mask) -> dict:
        if attention_mask is not None and outputs.router_logits:
            tokens = outputs.last_hidden_state.shape[1]
            attention_mask = attention_mask[:, -tokens:]
        aux = load_balancing_loss_func(outputs.router_logits, self.config.num_memories, self.config.topk,
                                       attention_mask)
        return {"aux_loss": aux if isinstance(aux, torch.Tensor) else None, "router_logits": outputs.router_logits}

    def scale_aux_loss(self, aux: torch.Tensor) -> torch.Tensor:
        return aux * self.config.aux_loss_scale
