"""Based. S. Arora et al., arXiv:2402.18668 (2024)."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.modules.feature_map import TaylorFeatureMap
from fla.ops.based import parallel_based
from fla.ops.linear_attn import chunk_linear_attn, fused_chunk_linear_attn

from ._call import heads, merge

__all__ = ["BasedLinearAttention"]


class BasedLinearAttention(nn.Module):
    """Attention with 1 + x + x^2/2 in place of exp(x), x = q.k / sqrt(feature_dim).

    mode: parallel, or chunk and fused_chunk through the explicit feature map; all
    compute the same. forward takes [B, T, D] and returns o [B, T, D].
    """

    def __init__(
        self,
        hidden_size: int,
        feature_dim: int = 16,
        num_key_value_heads: int = 12,
        num_heads: int = 12,
        feature_name: str = "taylor_exp",
        eps: float = 1e-12,
        causal: bool = True,
        mode: str = "parallel",
    ):
        super().__init__()
        assert mode in ("parallel", "chunk", "fused_chunk"), f"Not supported mode `{mode}`."
        if not causal:
            raise NotImplementedError("BasedLinearAttention: only causal attention is supported")
        if feature_name != "taylor_exp":
            raise NotImplementedError(f"BasedLinearAttention: expected feature_name taylor_exp, got {feature_name}")
        self.hidden_size, self.mode, self.feature_name, self.feature_dim = hidden_size, mode, feature_name, feature_dim
        self.num_key_value_heads, self.num_heads = num_key_value_heads, num_heads
        assert num_key_value_heads == num_heads, (
            f"expected as many key-value heads as heads, got {num_key_value_heads} and {num_heads}")
        self.head_dim = hidden_size // num_key_value_heads
        assert hidden_size % self.head_dim == 0, f"hidden_size {hidden_size} must be divisible by {self.head_dim}"
        self.causal, self.eps = causal, eps

        self.q_proj = nn.Linear(hidden_size, feature_dim * num_heads, bias=False)
        self.k_proj = nn.Linear(hidden_size, feature_dim * num_heads, bias=False)
        self.v_proj = nn.Linear(hidden_size, num_key_value_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(num_heads * self.head_dim, hidden_size, bias=False)
        self.dropout = nn.Identity()
        self.feature_map = TaylorFeatureMap(feature_dim)

    def forward(self, hidden_states: torch.Tensor, **kwargs) -> torch.Tensor:
        q, k = (heads(project(hidden_states), self.feature_dim) for project in (self.q_proj, self.k_proj))
        v = heads(self.v_proj(hidden_states), self.head_dim)
        if self.mode == "parallel":
            o = parallel_based(q, k, v, scale=self.feature_dim ** -0.5, use_norm=True)
        else:
            operator = fused_chunk_linear_attn if self.mode == "fused_chunk" else chunk_linear_attn
            o, _ = operator(self.feature_map(q), self.feature_map(k), v, normalize=True, scale=1)
        return self.dropout(self.o_proj(merge(o)))
