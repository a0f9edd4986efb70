"""The gate of Kimi delta attention, made of a logit a channel (arXiv:2510.26692)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["naive_kda_gate", "naive_kda_lowerbound_gate", "fused_kda_gate", "gate_arguments"]


def _biased(g: torch.Tensor, dt_bias: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    return g.to(dtype) if dt_bias is None else g.to(dtype) + dt_bias.view(*g.shape[-2:]).to(dtype)


def naive_kda_gate(
    g: torch.Tensor,
    A_log: torch.Tensor,
    dt_bias: torch.Tensor | None = None,
    output_dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """-e^A_log softplus(g + dt_bias) of logits g [..., H, K]; A_log has H elements, dt_bias H K of them."""
    compute = torch.promote_types(g.dtype, torch.float32)
    rate = A_log.view(-1, 1).to(compute).exp()
    return (-rate * F.softplus(_biased(g, dt_bias, compute))).to(output_dtype)


def naive_kda_lowerbound_gate(
    g: torch.Tensor,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    lower_bound: float = -5.0,
    output_dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """lower_bound sigmoid(e^A_log (g + dt_bias)) of logits g [..., H, K]; A_log None stands for zeros."""
    compute = torch.promote_types(g.dtype, torch.float32)
    x = _biased(g, dt_bias, compute)
    x = x if A_log is None else A_log.view(-1, 1).to(compute).exp() * x
    return (lower_bound * torch.sigmoid(x)).to(output_dtype)


def fused_kda_gate(
    g: torch.Tensor,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | int | None = None,
    lower_bound: float | None = None,
    output_dtype: torch.dtype = torch.float32,
    *,
    g_bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """The natural-log gate of logits g [..., H, K]: unbounded, or with lower_bound between it and 0.

    A_log has H elements, dt_bias H K of them. In chunk_kda(use_gate_in_kernel=True) the
    gate is part of the kernels instead. Checkpoints of 2025 call it with g [..., H K], K
    in place of dt_bias and the bias as g_bias. Raises ValueError without A_log and
    lower_bound.
    """
    if isinstance(dt_bias, int):
        g, dt_bias = g.unflatten(-1, (-1, dt_bias)), g_bias
    if lower_bound is not None:
        return naive_kda_lowerbound_gate(g, A_log, dt_bias, lower_bound, output_dtype)
    if A_log is None:
        raise ValueError("fused_kda_gate: expected A_log, or lower_bound with which it may be left out, got neither")
    return naive_kda_gate(g, A_log, dt_bias, output_dtype)


def gate_arguments(name: str, g: torch.Tensor, use_gate_in_kernel: bool, A_log, dt_bias, lower_bound,
                   safe_gate: bool = False) -> dict:
    """What the definitions take for a gate given or to be made of logits g [B, T, H, K].

    Raises ValueError for parts that are missing or out of range.
    """
    if not use_gate_in_kernel:
        return {"gate": "given"}
    if A_log is None and lower_bound is None:
        raise ValueError(f"{name}: use_gate_in_kernel=True: expected A_log, or lower_bound with which it may be left "
                         "out, got neither")
    if safe_gate and (lower_bound is None or not -5 <= lower_bound < 0):
        raise ValueError(f"{name}: safe_gate=True: expected -5 <= lower_bound < 0, got {lower_bound}")
    heads, width = g.shape[-2:]
    if dt_bias is not None:
        dt_bias = dt_bias.view(heads, width) if dt_bias.numel() == heads * width else dt_bias.view(heads, 1)
        dt_bias = dt_bias.expand(heads, width)
    found = {"gate": "open" if lower_bound is None else "bounded", "dt_bias": dt_bias,
             "A_log": None if A_log is None else A_log.reshape(heads)}
    return found if lower_bound is None else {**found, "lower_bound": float(lower_bound)}
