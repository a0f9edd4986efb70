"""The gate of Gated DeltaNet, made of a logit a head (as in Mamba-2, arXiv:2405.21060)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["naive_gdn_gate", "fused_gdn_gate"]


def naive_gdn_gate(
    g: torch.Tensor,
    A_log: torch.Tensor,
    dt_bias: torch.Tensor | None = None,
    output_dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The natural-log gate -e^A_log softplus(g + dt_bias) of a logit g [..., HV]; A_log and dt_bias [HV]."""
    compute = torch.promote_types(g.dtype, torch.float32)
    x = g.to(compute) if dt_bias is None else g.to(compute) + dt_bias.to(compute)
    return (-A_log.to(compute).exp() * F.softplus(x)).to(output_dtype)


# Elementwise work in PyTorch, and in chunk_gated_delta_rule(use_gate_in_kernel=True) in its kernels.
fused_gdn_gate = naive_gdn_gate
