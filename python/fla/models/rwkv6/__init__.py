"""RWKV-6 models."""

from fla._registration import register
from fla.models.rwkv6.configuration_rwkv6 import RWKV6Config
from fla.models.rwkv6.modeling_rwkv6 import RWKV6ForCausalLM, RWKV6Model

register(RWKV6Config, RWKV6Model, RWKV6ForCausalLM)

__all__ = ["RWKV6Config", "RWKV6ForCausalLM", "RWKV6Model"]
