"""ReBased: linear attention with squared scores, A_ij = (scale q_i.k_j)^2 for j <= i.

Y. Aksenov et al., arXiv:2402.10644. q and k come normalised, with the learned affine map applied.
"""

from . import naive
from .parallel import parallel_rebased

__all__ = ["parallel_rebased"]
