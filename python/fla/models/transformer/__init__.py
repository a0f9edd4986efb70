"""A transformer with rotary positions models."""

from fla.models.transformer.configuration_transformer import TransformerConfig
from fla.models.transformer.modeling_transformer import TransformerForCausalLM, TransformerModel
from fla.models.registration import register

register(TransformerConfig, TransformerModel, TransformerForCausalLM)

__all__ = ["TransformerConfig", "TransformerForCausalLM", "TransformerModel"]
