"""RWKV-6: o_t = scale (S_{t-1} + Diag(u) k_t v_t^T)^T r_t, S_t = Diag(e^{w_t}) S_{t-1} + k_t v_t^T.

B. Peng et al., arXiv:2404.05892.
"""

from . import chunk_naive, recurrent_naive
from .chunk import chunk_rwkv6
from .fused_recurrent import fused_recurrent_rwkv6

__all__ = ["chunk_rwkv6", "fused_recurrent_rwkv6"]
