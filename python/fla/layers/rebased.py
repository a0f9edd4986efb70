"""ReBased. Y. Aksenov et al., arXiv:2402.10644 (2024)."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.modules.feature_map import RebasedFeatureMap
from fla.ops.linear_attn import chunk_linear_attn, fused_chunk_linear_attn
from fla.ops.rebased import parallel_rebased

from ._call import heads, merge

__all__ = ["ReBasedLinearAttention"]


class ReBasedLinearAttention(nn.Module):
    """Attention with x^2 in place of exp(x), x = phi(q).phi(k) / sqrt(feature_dim), phi an affine layer norm.

    mode: parallel, or chunk and fused_chunk through the explicit feature map.
    forward takes [B, T, D] and returns o [B, T, D].
    """

    def __init__(
        self,
        hidden_size: int,
        l_max: int = 2048,
        feature_dim: int = 16,
        num_key_value_heads: int = 16,
        num_heads: int = 16,
        use_gamma: bool | None = True,
        use_beta: bool | None = True,
        normalize: bool | None = True,
        causal: bool = True,
        eps: float = 1e-5,
        mode: str = "parallel",
        layer_idx: int | None = None,
        **kwargs,
    ):
        super().__init__()
        assert mode in ("fused_chunk", "parallel", "chunk"), f"Not supported mode `{mode}`."
        if not causal:
            raise NotImplementedError("ReBasedLinearAttention: only causal attention is supported")
        self.hidden_size, self.l_max, self.mode, self.layer_idx = hidden_size, l_max, mode, layer_idx
        self.feature_dim, self.num_key_value_heads, self.num_heads = feature_dim, num_key_value_heads, num_heads
        self.head_dim = hidden_size // num_key_value_heads
        self.use_gamma, self.use_beta, self.normalize = use_gamma, use_beta, normalize
        self.causal, self.eps = causal, eps

        self.feature_map = RebasedFeatureMap(feature_dim, use_gamma, use_beta, normalize)
        self.q_proj = nn.Linear(hidden_size, feature_dim * num_heads, bias=False)
        self.k_proj = nn.Linear(hidden_size, feature_dim * num_heads, bias=False)
        self.v_proj = nn.Linear(hidden_size, num_key_value_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(num_heads * self.head_dim, hidden_size, bias=False)
        self.dropout = nn.Identity()

    def forward(self, hidden_states: torch.Tensor, **kwargs) -> torch.Tensor:
        flatten = self.mode != "parallel"
        q, k = (self.feature_map(heads(project(hidden_states), self.feature_dim), flatten=flatten)
                for project in (self.q_proj, self.k_proj))
        v = heads(self.v_proj(hidden_states), self.head_dim)
        if self.mode == "parallel":
            o = parallel_rebased(q=q, k=k, v=v, eps=self.eps, use_scale=True, use_normalize=True)
        else:
            operator = fused_chunk_linear_attn if self.mode == "fused_chunk" else chunk_linear_attn
            o, _ = operator(q=q, k=k, v=v, normalize=True, scale=1)
        return self.dropout(self.o_proj(merge(o)))
