"""Preconditioned Kimi delta attention: the preconditioned gated delta rule with a gate a channel of the keys.

N. Tumma, N. Loo, D. Rus, arXiv:2604.21100.
"""

from . import naive
from .chunk import chunk_precond_kda
from .fused_recurrent import fused_recurrent_precond_kda
from .naive import naive_recurrent_precond_kda

__all__ = ["chunk_precond_kda", "fused_recurrent_precond_kda", "naive_recurrent_precond_kda"]
