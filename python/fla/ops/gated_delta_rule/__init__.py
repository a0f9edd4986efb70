"""The gated delta rule: S' = e^{g_t} S_{t-1}, S_t = S' + beta_t k_t (v_t - S'^T k_t)^T, o_t = scale S_t^T q_t.

S. Yang, J. Kautz, A. Hatamizadeh, arXiv:2412.06464. v, g and beta may have a multiple
HV of q's and k's H heads.
"""

from . import gate, naive
from .chunk import chunk_gated_delta_rule, chunk_gdn
from .fused_recurrent import fused_recurrent_gated_delta_rule, fused_recurrent_gdn
from .naive import naive_chunk_gated_delta_rule, naive_recurrent_gated_delta_rule

__all__ = ["chunk_gated_delta_rule", "chunk_gdn", "fused_recurrent_gated_delta_rule", "fused_recurrent_gdn",
           "naive_chunk_gated_delta_rule", "naive_recurrent_gated_delta_rule"]
