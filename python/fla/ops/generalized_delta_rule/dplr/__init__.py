"""The diagonal-plus-low-rank delta rule: S_t = (Diag(e^{gk_t}) + b_t a_t^T) S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t.

B. Peng et al., arXiv:2503.14456: the transition of RWKV-7 with a and b free. a reads
the state before its decay.
"""

from . import naive
from .chunk import chunk_dplr_delta_rule
from .fused_recurrent import fused_recurrent_dplr_delta_rule

__all__ = ["chunk_dplr_delta_rule", "fused_recurrent_dplr_delta_rule"]
