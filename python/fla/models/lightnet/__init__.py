"""LightNet models."""

from fla.models.lightnet.configuration_lightnet import LightNetConfig
from fla.models.lightnet.modeling_lightnet import LightNetForCausalLM, LightNetModel
from fla.models.registration import register

register(LightNetConfig, LightNetModel, LightNetForCausalLM)

__all__ = ["LightNetConfig", "LightNetForCausalLM", "LightNetModel"]
