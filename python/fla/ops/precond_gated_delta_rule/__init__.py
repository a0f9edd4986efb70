"""The preconditioned gated delta rule: what is written is scaled by the keys' curvature.

    A_t = e^{g_atk,t} A_{t-1} + beta_atk,t k_t^2,   M_t = x^{-z/(1+|z|)},  z = log(A_t + eps) - log_atk_scale
    S_t = S' + beta_t (k_t M_t) (v_t - S'^T k_t)^T,  S' = e^{g_t} S_{t-1},  o_t = scale S_t^T q_t

N. Tumma, N. Loo, D. Rus, arXiv:2604.21100.
"""

from . import naive
from .chunk import chunk_precond_gated_delta_rule
from .fused_recurrent import fused_recurrent_precond_gated_delta_rule, fused_recurrent_pgdn
from .naive import naive_recurrent_precond_gated_delta_rule

__all__ = ["chunk_precond_gated_delta_rule", "fused_recurrent_precond_gated_delta_rule", "fused_recurrent_pgdn",
           "naive_recurrent_precond_gated_delta_rule"]
