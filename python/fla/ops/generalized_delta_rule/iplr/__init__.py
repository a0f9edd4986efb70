"""The identity-plus-low-rank delta rule: S_t = (I + b_t a_t^T) S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t.

S. Yang et al., arXiv:2406.06484, with the transition's vectors free.
"""

from . import naive
from .chunk import chunk_iplr_delta_rule
from .fused_recurrent import fused_recurrent_iplr_delta_rule

__all__ = ["chunk_iplr_delta_rule", "fused_recurrent_iplr_delta_rule"]
