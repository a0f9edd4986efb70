"""The gated Oja rule: S' = S_{t-1} Diag(e^{gv_t}), S_t = S' + beta_t (k_t - S' v_t) v_t^T, o_t = scale S_t^T q_t.

The delta rule's mirror image, with errors on the keys' side. K. Irie, F. Faccio,
J. Schmidhuber, arXiv:2206.01649.
"""

from . import naive
from .chunk import chunk_gated_oja_rule
from .fused_recurrent import fused_recurrent_gated_oja_rule

__all__ = ["chunk_gated_oja_rule", "fused_recurrent_gated_oja_rule"]
