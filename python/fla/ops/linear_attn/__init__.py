"""Linear attention: S_t = S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t, divided by scale q_t.(k_1 + .. + k_t) or not.

A. Katharopoulos et al., arXiv:2006.16236. Feature maps are the caller's.
"""

from . import naive
from .chunk import chunk_linear_attn
from .fused_chunk import fused_chunk_linear_attn
from .fused_recurrent import fused_recurrent_linear_attn

__all__ = ["chunk_linear_attn", "fused_chunk_linear_attn", "fused_recurrent_linear_attn"]
