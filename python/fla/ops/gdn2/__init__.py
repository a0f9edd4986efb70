"""Gated DeltaNet-2: S' = Diag(e^{g_t}) S_{t-1}, S_t = S' + k_t (w_t v_t - S'^T (b_t k_t))^T, o_t = scale S_t^T q_t.

A. Hatamizadeh, Y. Choi, J. Kautz, arXiv:2605.22791: b erases a channel of the keys, w
writes one of the values.
"""

from . import naive
from .chunk import chunk_gdn2
from .fused_recurrent import fused_recurrent_gdn2
from .naive import naive_chunk_gdn2, naive_recurrent_gdn2

__all__ = ["chunk_gdn2", "fused_recurrent_gdn2", "naive_chunk_gdn2", "naive_recurrent_gdn2"]
