"""Comba models."""

from fla._registration import register
from fla.models.comba.configuration_comba import CombaConfig
from fla.models.comba.modeling_comba import CombaForCausalLM, CombaModel

register(CombaConfig, CombaModel, CombaForCausalLM)

__all__ = ["CombaConfig", "CombaForCausalLM", "CombaModel"]
