"""Lightning attention: S_t = e^{gamma_h} S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t.

gamma_h = -8/H (1 - layer_idx/num_layers) h for head h. Z. Qin et al., arXiv:2401.04658.
It is simple GLA with these constant gates.
"""

from .chunk import chunk_lightning_attn
from .fused_recurrent import fused_recurrent_lightning_attn

__all__ = ["chunk_lightning_attn", "fused_recurrent_lightning_attn"]
