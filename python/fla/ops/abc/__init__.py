"""Attention with bounded-memory control: slots that hold a softmax over the past of their logits s.

    z_t = logaddexp(z_{t-1}, s_t), and gated slot attention with g_t = z_{t-1} - z_t and e^{s_t - z_t} for s_t

H. Peng et al., arXiv:2110.02488.
"""

from . import naive
from .chunk import chunk_abc

__all__ = ["chunk_abc"]
