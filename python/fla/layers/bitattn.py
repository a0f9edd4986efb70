"""Softmax attention with ternary weights (BitNet b1.58). S. Ma et al., arXiv:2402.17764 (2024)."""

from __future__ import annotations

from fla.modules import RotaryEmbedding
from fla.modules.fused_bitlinear import FusedBitLinear

from ._softmax import SoftmaxAttention

__all__ = ["BitAttention"]


class BitAttention(SoftmaxAttention):
    """Attention, with projections that normalise, quantise to 8 bits and multiply by ternary weights."""

    def __init__(
        self,
        hidden_size: int = 2048,
        num_heads: int = 32,
        num_kv_heads: int | None = None,
        window_size: int | None = None,
        rope_theta: float | None = 10000.0,
        max_position_embeddings: int | None = None,
        norm_eps: float = 1e-5,
        layer_idx: int | None = None,
    ):
        super().__init__()
        self.hidden_size, self.num_heads = hidden_size, num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if num_heads % self.num_kv_heads != 0:
            raise ValueError(f"num_heads={num_heads} must be divisible by num_kv_heads={self.num_kv_heads}.")
        self.num_kv_groups, self.head_dim = num_heads // self.num_kv_heads, hidden_size // num_heads
        self.kv_dim = self.num_kv_heads * self.head_dim
        self.window_size, self.rope_theta = window_size, rope_theta
        self.max_position_embeddings, self.layer_idx = max_position_embeddings, layer_idx

        self.q_proj = FusedBitLinear(hidden_size, hidden_size, bias=False)
        self.k_proj = FusedBitLinear(hidden_size, self.kv_dim, bias=False)
        self.v_proj = FusedBitLinear(hidden_size, self.kv_dim, bias=False)
        self.o_proj = FusedBitLinear(hidden_size, hidden_size, bias=False)
        self.rotary = RotaryEmbedding(dim=self.head_dim, base=rope_theta)
