"""HGRN: h_t = e^{g_t} h_{t-1} + x_t, elementwise, o_t = h_t.

Z. Qin, S. Yang, Y. Zhong, arXiv:2311.04823. x is the input already gated.
"""

from . import naive
from .chunk import chunk_hgrn
from .fused_recurrent import fused_recurrent_hgrn

__all__ = ["chunk_hgrn", "fused_recurrent_hgrn"]
