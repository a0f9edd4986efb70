"""Gated linear attention: S_t = Diag(e^{gk_t}) S_{t-1} Diag(e^{gv_t}) + k_t v_t^T, o_t = scale S_t^T q_t.

S. Yang, B. Wang, Y. Shen, R. Panda, Y. Kim, arXiv:2312.06635.
"""

from . import naive
from .chunk import chunk_gla
from .fused_chunk import fused_chunk_gla
from .fused_recurrent import fused_recurrent_gla

__all__ = ["chunk_gla", "fused_chunk_gla", "fused_recurrent_gla"]
