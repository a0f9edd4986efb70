"""RWKV-7: S_t = (Diag(e^{w_t}) + b_t a_t^T) S_{t-1} + k_t v_t^T, o_t = scale S_t^T r_t, and the work around it.

B. Peng et al., arXiv:2503.14456. The recurrence is the diagonal-plus-low-rank delta
rule; with its removal key kk and in-context rate a it is fused_mul_recurrent_rwkv7's.
"""

from . import channel_mixing, fused_addcmul, fused_k_update, gate_output_correction
from .chunk import chunk_rwkv7
from .fused_recurrent import fused_mul_recurrent_rwkv7, fused_recurrent_rwkv7

__all__ = ["chunk_rwkv7", "fused_mul_recurrent_rwkv7", "fused_recurrent_rwkv7"]
