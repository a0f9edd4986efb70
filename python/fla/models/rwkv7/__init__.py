"""RWKV-7 models."""

from fla.models.rwkv7.configuration_rwkv7 import RWKV7Config
from fla.models.rwkv7.modeling_rwkv7 import RWKV7ForCausalLM, RWKV7Model
from fla.models.registration import register

register(RWKV7Config, RWKV7Model, RWKV7ForCausalLM)

__all__ = ["RWKV7Config", "RWKV7ForCausalLM", "RWKV7Model"]
