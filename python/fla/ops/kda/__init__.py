"""Kimi delta attention: S' = Diag(e^{g_t}) S_{t-1}, S_t = S' + beta_t k_t (v_t - S'^T k_t)^T, o_t = scale S_t^T q_t.

Kimi Team, arXiv:2510.26692. v, g and beta may have a multiple HV of q's and k's H heads.
"""

from . import gate, naive
from .chunk import chunk_kda
from .fused_recurrent import fused_recurrent_kda

__all__ = ["chunk_kda", "fused_recurrent_kda"]
