"""Based: linear attention with the second-order Taylor expansion of exp as scores.

    A_ij = 1 + s + s^2/2 with s = scale q_i.k_j for j <= i; o = A v, divided by A's row sums

S. Arora et al., arXiv:2402.18668.
"""

from . import naive
from .fused_chunk import fused_chunk_based
from .parallel import parallel_based

__all__ = ["fused_chunk_based", "parallel_based"]
