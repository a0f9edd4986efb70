"""Mamba models."""

from fla._registration import register
from fla.models.mamba.configuration_mamba import MambaConfig
from fla.models.mamba.modeling_mamba import MambaForCausalLM, MambaModel

register(MambaConfig, MambaModel, MambaForCausalLM)

__all__ = ["MambaConfig", "MambaForCausalLM", "MambaModel"]
