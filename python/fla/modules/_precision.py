"""The precision that row-wise modules compute in: float32, or float64 for float64 inputs."""

from __future__ import annotations

import torch

__all__ = ["autocast_dtype", "cast", "wide"]


def wide(x: torch.Tensor | None) -> torch.Tensor | None:
    """``x`` in float32; float64 stays as it is, and so does None."""
    if x is None or x.dtype == torch.float64:
        return x
    return x.float()


def cast(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``x`` in ``dtype``, x itself if it is.

    For results of autograd functions: one that ends in a conversion that converts nothing
    has gradients of zero under torch.compile in PyTorch 2.11.
    """
    return x if x.dtype == dtype else x.to(dtype)


def autocast_dtype(x: torch.Tensor) -> torch.dtype:
    """What a matrix product of ``x`` is computed in: autocast's dtype where it is on, else the dtype of ``x``."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
