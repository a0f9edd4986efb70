"""LightNet models."""

from fla._registration import register
from fla.models.lightnet.configuration_lightnet import LightNetConfig
from fla.models.lightnet.modeling_lightnet import LightNetForCausalLM, LightNetModel

register(LightNetConfig, LightNetModel, LightNetForCausalLM)

__all__ = ["LightNetConfig", "LightNetForCausalLM", "LightNetModel"]
