"""Retention: S_t = e^{gamma_h} S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t, gamma_h = log(1 - 2^(-5-h)) for head h.

Y. Sun et al., arXiv:2307.08621. It is simple GLA with these constant gates.
"""

from . import naive
from .chunk import chunk_retention
from .fused_chunk import fused_chunk_retention
from .fused_recurrent import fused_recurrent_retention
from .parallel import parallel_retention

__all__ = ["chunk_retention", "fused_chunk_retention", "fused_recurrent_retention", "parallel_retention"]
