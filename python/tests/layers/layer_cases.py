"""Layers of every kind, small; and what a layer's call gives."""
import torch

import fla.layers
from fla.layers.simple_gla import SimpleGatedLinearAttention

WIDTH = 64
LAYERS = {
    "ABCAttention": dict(num_heads=4, num_slots=8, use_short_conv=True),
    "Attention": dict(num_heads=4, num_kv_heads=2, qk_norm=True, qkv_bias=True),
    "BitAttention": dict(num_heads=4),
    "Comba": dict(num_heads=2, num_v_heads=4, head_dim=16),
    "DeltaNet": dict(num_heads=4, use_gate=True),
    "GatedDeltaNet": dict(num_heads=2, num_v_heads=4, head_dim=16),
    "GatedDeltaProduct": dict(num_heads=2, head_dim=16, num_householder=3),
    "GatedLinearAttention": dict(num_heads=4, num_kv_heads=2, use_short_conv=True),
    "GatedSlotAttention": dict(num_heads=4, num_kv_heads=2, num_slots=8),
    "HGRN2Attention": dict(expand_ratio=16),
    "HGRNAttention": dict(expand_ratio=2, use_short_conv=True),
    "KimiDeltaAttention": dict(num_heads=2, head_dim=16),
    "LightNetAttention": dict(expand_ratio=16),
    "LinearAttention": dict(num_heads=4, num_kv_heads=2, feature_map="elu", do_feature_map_norm=True),
    "Mamba": dict(intermediate_size=96, state_size=8),
    "Mamba2": dict(head_dim=16, state_size=8, n_groups=2, D_has_hdim=True),
    "MomAttention": dict(num_heads=2, head_dim=16, num_memories=4, shared_mem=True),
    "MultiScaleRetention": dict(num_heads=4, num_kv_heads=2),
    "RodimusAttention": dict(expand_ratio=16),
    "RWKV6Attention": dict(num_heads=4),
    "RWKV7Attention": dict(head_dim=16, num_hidden_layers=2),
    "SimpleGatedLinearAttention": dict(num_heads=4, num_kv_heads=2),
    "SlidingWindowSharedKeyAttention": dict(num_heads=4, window_size=9),
}
NAMES = sorted(LAYERS)
# They take hidden states alone: neither masks nor packed sequences.
PLAIN = {"BasedLinearAttention": dict(num_heads=4, num_key_value_heads=4),
         "ReBasedLinearAttention": dict(num_heads=4, num_key_value_heads=4)}


def make(name: str, **changed):
    """A layer in evaluation mode, without parameters that are all zero."""
    torch.manual_seed(sum(map(ord, name)))
    kind = SimpleGatedLinearAttention if name == "SimpleGatedLinearAttention" else getattr(fla.layers, name)
    options = {**LAYERS.get(name, {}), **PLAIN.get(name, {}), **changed}
    if name not in PLAIN:
        options.setdefault("layer_idx", 0)
    layer = kind(hidden_size=WIDTH, **options).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    return layer


def close(name: str) -> float:
    """A tolerance: BitNet's layer rounds activations to 8 bits."""
    return 2e-2 if name == "BitAttention" else 1e-4
