"""Mamba models."""

from fla.models.mamba.configuration_mamba import MambaConfig
from fla.models.mamba.modeling_mamba import MambaForCausalLM, MambaModel
from fla.models.registration import register

register(MambaConfig, MambaModel, MambaForCausalLM)

__all__ = ["MambaConfig", "MambaForCausalLM", "MambaModel"]
