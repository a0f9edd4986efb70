"""MoM models."""

from fla.models.mom.configuration_mom import MomConfig
from fla.models.mom.modeling_mom import MomForCausalLM, MomModel
from fla.models.registration import register

register(MomConfig, MomModel, MomForCausalLM)

__all__ = ["MomConfig", "MomForCausalLM", "MomModel"]
