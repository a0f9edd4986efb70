"""Gated slot attention: two gated states of M slots with a softmax between them.

    Hk_t = Hk_{t-1} Diag(e^{g_t}) + k_t s_t^T,  Hv_t = Diag(e^{g_t}) Hv_{t-1} + s_t v_t^T
    o_t = Hv_t^T softmax(scale Hk_t^T q_t)

Y. Zhang et al., arXiv:2409.07146.
"""

from . import naive
from .chunk import chunk_gsa
from .fused_recurrent import fused_recurrent_gsa

__all__ = ["chunk_gsa", "fused_recurrent_gsa"]
