"""The parameters and the printed form that all norm modules share."""

from __future__ import annotations

import torch
import torch.nn as nn

__all__ = ["NormModule"]


class NormModule(nn.Module):
    """``weight [hidden_size]`` of ones and ``bias [hidden_size]`` of zeros; None where they are switched off.

    A subclass says in ``_facts`` what else is printed after the hidden size.
    """

    def __init__(self, hidden_size: int, elementwise_affine: bool, bias: bool, eps: float,
                 device: torch.device | None, dtype: torch.dtype | None):
        super().__init__()
        self.hidden_size = hidden_size
        self.elementwise_affine = elementwise_affine
        self.eps = eps
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)
        if elementwise_affine:
            self.weight = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
            if bias:
                self.bias = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to one and the bias to zero."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _sizes(self) -> list[str]:
        return [str(self.hidden_size)]

    def _facts(self) -> list[str]:
        return [f"eps={self.eps}"]

    def __repr__(self) -> str:
        affine = [] if self.elementwise_affine else ["elementwise_affine=False"]
        return f"{type(self).__name__}({', '.join(self._sizes() + affine + self._facts())})"
