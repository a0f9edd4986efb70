"""The delta rule: S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T, o_t = scale S_t^T q_t.

I. Schlag, K. Irie, J. Schmidhuber, arXiv:2102.11174; S. Yang et al., arXiv:2406.06484.
"""

from . import naive
from .chunk import chunk_delta_rule
from .fused_chunk import fused_chunk_delta_rule
from .fused_recurrent import fused_recurrent_delta_rule
from .parallel import parallel_delta_rule

__all__ = ["chunk_delta_rule", "fused_chunk_delta_rule", "fused_recurrent_delta_rule", "parallel_delta_rule"]
