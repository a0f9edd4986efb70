"""Softmax attention, through PyTorch's scaled_dot_product_attention."""

from . import decoding, naive
from .naive import naive_attn_decoding, naive_parallel_attn
from .parallel import parallel_attn

__all__ = ["parallel_attn", "naive_parallel_attn", "naive_attn_decoding"]
