"""RWKV-4's WKV: a mean of the values whose weights decay by e^{-e^w} a token, with a bonus u for the present.

B. Peng et al., arXiv:2305.13048.
"""

from . import naive
from .fused_recurrent import fused_recurrent_rwkv4

__all__ = ["fused_recurrent_rwkv4"]
