"""MoM models."""

from fla._registration import register
from fla.models.mom.configuration_mom import MomConfig
from fla.models.mom.modeling_mom import MomForCausalLM, MomModel

register(MomConfig, MomModel, MomForCausalLM)

__all__ = ["MomConfig", "MomForCausalLM", "MomModel"]
