"""Comba models."""

from fla.models.comba.configuration_comba import CombaConfig
from fla.models.comba.modeling_comba import CombaForCausalLM, CombaModel
from fla.models.registration import register

register(CombaConfig, CombaModel, CombaForCausalLM)

__all__ = ["CombaConfig", "CombaForCausalLM", "CombaModel"]
