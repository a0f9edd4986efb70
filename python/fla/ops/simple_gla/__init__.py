"""Gated linear attention with one gate a head: S_t = e^{g_t + gamma} S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t.

The gate is g [B, T, H], g_gamma [H] for a constant one, both or neither. S. Yang et
al., arXiv:2312.06635, with the scalar gate of T. Dao and A. Gu, arXiv:2405.21060.
"""

from . import naive
from .chunk import chunk_simple_gla
from .fused_chunk import fused_chunk_simple_gla
from .fused_recurrent import fused_recurrent_simple_gla
from .parallel import parallel_simple_gla

__all__ = ["chunk_simple_gla", "fused_chunk_simple_gla", "fused_recurrent_simple_gla", "parallel_simple_gla"]
