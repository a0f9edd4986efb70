"""Comba: S_t = e^{g_t} S_{t-1} + beta_t k_t (v_t - S_{t-1}^T p_t)^T, o_t = scale S_t^T q_t.

J. Hu et al., arXiv:2506.02475. The feedback through p reads the state before its decay.
"""

from . import naive
from .chunk import chunk_comba
from .fused_recurrent import fused_recurrent_comba
from .naive import naive_chunk_comba, naive_recurrent_comba

__all__ = ["chunk_comba", "fused_recurrent_comba", "naive_chunk_comba", "naive_recurrent_comba"]
