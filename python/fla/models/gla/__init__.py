"""GLA models."""

from fla.models.gla.configuration_gla import GLAConfig
from fla.models.gla.modeling_gla import GLAForCausalLM, GLAModel
from fla.models.registration import register

register(GLAConfig, GLAModel, GLAForCausalLM)

__all__ = ["GLAConfig", "GLAForCausalLM", "GLAModel"]
