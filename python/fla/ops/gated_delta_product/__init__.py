"""Gated DeltaProduct: n delta-rule steps a token after one decay, o_t = scale S_t^T q_t.

J. Siems et al., arXiv:2502.10297. The n steps of a token come one after another on
the time axis of k, v and beta, which is n times as long as q's.
"""

from . import chunk_ref, naive
from .chunk import chunk_gated_delta_product

__all__ = ["chunk_gated_delta_product"]
