"""Decoder models: embeddings, blocks, a norm; and the head with its loss.

A model is a configuration, a block and three names:

    class GLAPreTrainedModel(FLAPreTrainedModel):
        config_class, block = GLAConfig, GLABlock

    class GLAModel(Decoder, GLAPreTrainedModel): ...
    class GLAForCausalLM(CausalLM, GLAPreTrainedModel, FLAGenerationMixin): ...
"""

from __future__ import annotations

import math
import warnings

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers.modeling_utils import PreTrainedModel

from fla.modules import FusedCrossEntropyLoss, FusedLinearCrossEntropyLoss
from fla.modules.l2warp import l2_warp

from .blocks import norm
from .compat import BaseModelOutputWithPast, CausalLMOutputWithPast, given_cache, is_fresh, output, tied_weights
from .utils import Cache

__all__ = ["FLAPreTrainedModel", "Decoder", "CausalLM"]


class FLAPreTrainedModel(PreTrainedModel):
    """Initial values, and what transformers asks about a model."""

    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_cache_class = True
    _is_stateful = True      # a state cannot go back, so generation that drafts tokens is refused
    _skip_keys_device_placement = ["past_key_values", "cache"]
    block: type

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "block" in cls.__dict__ and "_no_split_modules" not in cls.__dict__:
            cls._no_split_modules = [cls.block.__name__]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module, prenorm_residual_strategy: str | None = None,
                      num_residuals_per_layer: int = 2) -> None:
        """Normal weights, zero biases, and what a layer's reset_parameters does.

        prenorm_residual_strategy: rescale or zero, for the projections that end a
        residual branch. Values that a checkpoint gave are left as they are.
        """
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Embedding)):
            if is_fresh(module.weight):
                module.weight.normal_(0.0, self.config.initializer_range)
            bias = getattr(module, "bias", None)
            if is_fresh(bias) and not getattr(bias, "_no_reinit", False):
                bias.zero_()
        elif hasattr(module, "reset_parameters") and not self._is_given(module):
            module.reset_parameters()
        if prenorm_residual_strategy is not None:
            self._init_residual_branch(module, prenorm_residual_strategy, num_residuals_per_layer)

    @staticmethod
    def _is_given(module: nn.Module) -> bool:
        """Whether every value that the module holds itself came from a checkpoint, or has no storage."""
        own = list(module.parameters(recurse=False))
        return bool(own) and not any(is_fresh(p) for p in own)

    def _init_residual_branch(self, module: nn.Module, strategy: str, residuals: int) -> None:
        last = getattr(module, "o_proj", None) or getattr(module, "down_proj", None)
        if last is None or not is_fresh(last.weight):
            return
        if strategy == "rescale":
            nn.init.kaiming_uniform_(last.weight, a=math.sqrt(5))
            last.weight.div_(math.sqrt(residuals * self.config.num_hidden_layers))
        elif strategy == "zero":
            last.weight.zero_()
        else:
            raise ValueError(f"Invalid prenorm_residual_strategy: {strategy}")


class Decoder:
    """embeddings, layers, norm. Mixed into a model's FLAPreTrainedModel."""

    final_norm = "norm"

    def __init__(self, config):
        super().__init__(config)
        self.padding_idx, self.vocab_size = config.pad_token_id, config.vocab_size
        self.embeddings = self.make_embeddings(config)
        self.make_parameters(config)
        self.layers = nn.ModuleList([self.block(config, i) for i in range(config.num_hidden_layers)])
        setattr(self, self.final_norm, self.make_norm(config))
        self.gradient_checkpointing = False
        self.post_init()

    def make_embeddings(self, config) -> nn.Embedding:
        return nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)

    def make_parameters(self, config) -> None:
        """Parameters of the model itself, between the embeddings and the layers."""

    def make_norm(self, config) -> nn.Module:
        return norm(config)

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings = value

    # What the loop over layers carries beside the hidden states.
    def begin(self, hidden_states: torch.Tensor) -> dict:
        return {}

    def layer_arguments(self, carried: dict, layer_idx: int) -> dict:
        """Further arguments of a layer."""
        return {}

    def carry(self, carried: dict, more: tuple) -> None:
        """Takes what a layer gave beside hidden states, attentions and cache."""

    def finish(self, hidden_states: torch.Tensor, carried: dict) -> torch.Tensor:
        return getattr(self, self.final_norm)(hidden_states)

    def make_output(self, carried: dict, past, **fields):
        return output(BaseModelOutputWithPast, past, **fields)

    def _options(self, use_cache, output_attentions, output_hidden_states, return_dict):
        config = self.config
        if output_attentions or (output_attentions is None and getattr(config, "output_attentions", False)):
            warnings.warn(f"`{type(self).__name__}` does not support output attention weights now, "
                          "so `output_attentions` is set to `False`.")
        if use_cache is None:
            use_cache = config.use_cache and not self.training
        if self.gradient_checkpointing and self.training:
            use_cache = False
        hidden = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return use_cache, bool(hidden), getattr(config, "return_dict", True) if return_dict is None else return_dict

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        past_key_values=None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ):
        """The last hidden states [B, T, D], normalised, of input_ids or inputs_embeds.

        attention_mask [B, T], or longer with a cache: 0 for padding, anywhere.
        cu_seqlens [N + 1]: sequences packed along the time of one row.
        """
        past_key_values = given_cache(past_key_values, kwargs)
        use_cache, keep_hidden, return_dict = self._options(use_cache, output_attentions, output_hidden_states,
                                                            return_dict)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You have to specify either input_ids or inputs_embeds" if input_ids is None else
                             "You cannot specify both input_ids and inputs_embeds at the same time")
        x = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and not isinstance(past_key_values, Cache):
            past_key_values = Cache.from_legacy_cache(past_key_values)

        states, carried = [], self.begin(x)
        for i, layer in enumerate(self.layers):
            if keep_hidden:
                states.append(x)
            x, _, past_key_values, *more = layer(
                x, attention_mask=attention_mask, past_key_values=past_key_values, use_cache=use_cache,
                output_attentions=False, **{**kwargs, **self.layer_arguments(carried, i)})
            self.carry(carried, tuple(more))
        x = self.finish(x, carried)
        states = (*states, x) if keep_hidden else None
        if not return_dict:
            return tuple(v for v in (x, past_key_values, states) if v is not None)
        return self.make_output(carried, past_key_values, last_hidden_state=x, hidden_states=states)


class CausalLM:
    """The decoder under its prefix, lm_head, and the loss. Mixed into a model's FLAPreTrainedModel."""

    decoder: type
    output_kind = CausalLMOutputWithPast

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "_tied_weights_keys" not in cls.__dict__ and "decoder" in cls.__dict__:
            cls._tied_weights_keys = tied_weights("lm_head.weight", f"{cls.prefix()}.embeddings.weight")

    @classmethod
    def prefix(cls) -> str:
        """The decoder's name: the base model's prefix."""
        return cls.base_model_prefix or "model"

    def __init__(self, config):
        super().__init__(config)
        setattr(self, self.prefix(), self.decoder(config))
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.criterion = None
        self.post_init()

    def get_decoder(self):
        return getattr(self, self.prefix())

    def set_decoder(self, decoder) -> None:
        setattr(self, self.prefix(), decoder)

    def get_input_embeddings(self) -> nn.Module:
        return self.get_decoder().embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.get_decoder().embeddings = value

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.lm_head = value

    def _fuses_linear(self) -> bool:
        """Whether the loss is computed without the logits of all tokens."""
        return getattr(self.config, "fuse_linear_cross_entropy", False)

    def _criterion(self):
        if getattr(self, "criterion", None) is not None:
            return self.criterion
        l2warp = getattr(self.config, "use_l2warp", False)
        if self._fuses_linear():
            return FusedLinearCrossEntropyLoss(use_l2warp=l2warp)
        return FusedCrossEntropyLoss(inplace_backward=True) if self.config.fuse_cross_entropy else F.cross_entropy

    def _loss(self, hidden_states, logits, labels, shift_labels):
        criterion = self._criterion()
        if shift_labels is None:      # each token predicts the next one; the last one predicts nothing
            ignored = getattr(criterion, "ignore_index", -100)
            shift_labels = torch.cat((labels[..., 1:], torch.full_like(labels[:, :1], ignored)), 1)
        shift_labels = shift_labels.to(hidden_states.device)
        if self._fuses_linear():
            return criterion(hidden_states, shift_labels, self.lm_head.weight, self.lm_head.bias)
        loss = criterion(logits.view(shift_labels.numel(), -1), shift_labels.view(-1))
        return l2_warp(loss, logits) if getattr(self.config, "use_l2warp", False) else loss

    def _kept(self, hidden_states: torch.Tensor, logits_to_keep) -> torch.Tensor:
        """The tokens whose logits are wanted: all for 0 or None, the last n, or those of an index."""
        if logits_to_keep is None:
            return hidden_states
        if isinstance(logits_to_keep, torch.Tensor):
            return hidden_states[:, logits_to_keep]
        return hidden_states[:, -logits_to_keep:]

    def extra_loss(self, outputs, attention_mask) -> dict:
        """Further outputs by name; aux_loss is added to the loss."""
        return {}

    def scale_aux_loss(self, aux: torch.Tensor) -> torch.Tensor:
        """What of aux_loss is added to the loss."""
        return aux

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values=None,
        labels: torch.LongTensor | None = None,
        shift_labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        logits_to_keep: int | torch.Tensor | None = 0,
        **kwargs,
    ):
        """Logits [B, T, V] of all tokens or the last logits_to_keep, and the loss where labels [B, T] are given.

        labels are shifted here; shift_labels are shifted already. Logits are None
        where the loss is fused with the head.
        """
        logits_to_keep = kwargs.pop("num_logits_to_keep", logits_to_keep)
        return_dict = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        outputs = self.get_decoder()(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds,
            past_key_values=given_cache(past_key_values, kwargs), use_cache=use_cache,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states, return_dict=True, **kwargs)
        hidden_states = outputs.last_hidden_state
        wanted = labels is not None or shift_labels is not None
        logits = None
        if not (wanted and self._fuses_linear()):
            logits = self.lm_head(hidden_states if wanted else self._kept(hidden_states, logits_to_keep))
        loss = self._loss(hidden_states, logits, labels, shift_labels) if wanted else None
        more = self.extra_loss(outputs, attention_mask)
        if loss is not None and more.get("aux_loss") is not None:
            loss = loss + self.scale_aux_loss(more["aux_loss"]).to(loss.device)
        past = outputs.get("past_key_values")
        if not return_dict:
            values = (loss, logits, past, outputs.hidden_states)
            return tuple(v for v in values if v is not None)
        return output(self.output_kind, past, loss=loss, logits=logits, hidden_states=outputs.hidden_states, **more)
