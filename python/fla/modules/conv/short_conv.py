"""The short convolution as a module."""

from __future__ import annotations

import warnings

import torch
import torch.nn as nn

from ._arguments import check_activation
from .update import causal_conv1d_update

__all__ = ["ShortConvolution"]


class ShortConvolution(nn.Conv1d):
    """A depthwise causal convolution of ``kernel_size`` taps: ``weight [hidden_size, 1, kernel_size]``.

    Args:
        hidden_size: channels D.
        kernel_size: taps W.
        bias: whether there is a ``bias [D]``.
        activation: silu, swish or None. Raises ValueError for another.
        backend: triton or cuda, the names that the original gives; both run the same code
            here. Raises ValueError for another.
        use_fast_conv1d: from an older release; warned about and ignored.
    """

    def __init__(self, hidden_size: int, kernel_size: int, bias: bool = False, activation: str | None = "silu",
                 backend: str | None = "triton", device: torch.device | None = None,
                 dtype: torch.dtype | None = None, **kwargs):
        super().__init__(hidden_size, hidden_size, kernel_size, padding=kernel_size - 1, groups=hidden_size,
                         bias=bias, device=device, dtype=dtype)
        check_activation(activation)
        if backend not in ("cuda", "triton"):
            raise ValueError(f"expected a backend among cuda and triton, got {backend!r}")
        if kwargs.pop("use_fast_conv1d", None) is not None:
            warnings.warn("use_fast_conv1d is from an older release and has no effect", stacklevel=2)
        if kwargs:
            raise TypeError(f"ShortConvolution got unexpected arguments {', '.join(kwargs)}")
        self.hidden_size = hidden_size
        self.activation = activation
        self.backend = backend

    def extra_repr(self) -> str:
        """What nn.Conv1d says, the activation and the backend."""
        activation = [] if self.activation is None else [f"activation={self.activation}"]
        return ", ".join([super().extra_repr(), *activation, f"backend={self.backend}"])

    def forward(
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        cache: torch.Tensor | None = None,
        output_final_state: bool = False,
        cu_seqlens: torch.LongTensor | None = None,
        chunk_indices: torch.LongTensor | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A whole sequence, or one token when T is 1.

        Args:
            x: [B, T, D] or [B, T, H, D/H].
            residual: like x, added at the end.
            mask: [B, T] numbers that x is multiplied by; not together with cu_seqlens (ValueError).
            cache: the last inputs [N, D, W] before x. With one token for each sequence it is
                updated in place, except while autograd records a gradient through it.
            output_final_state: whether the state after x is returned.
            cu_seqlens: boundaries [N+1] of sequences packed into x [1, T, D].
            chunk_indices, and ``seq_idx`` among the further ones: see :func:`fla.modules.conv.causal_conv1d`.

        Returns:
            y like x; the state [N, D, W] or None.
        """
        if mask is not None:
            if cu_seqlens is not None:
                raise ValueError("expected mask or cu_seqlens, got both")
            x = x * mask.reshape(*mask.shape, *(1,) * (x.dim() - mask.dim()))
        if x.shape[1] == 1 and cu_seqlens is None:
            return self.step(x, residual, cache, output_final_state)
        # Found through the package, where other libraries replace it by their own.
        from fla.modules import conv
        y, state = conv.causal_conv1d(
            x, self.weight.squeeze(1), self.bias, residual=residual, initial_state=cache,
            output_final_state=output_final_state, activation=self.activation, backend=self.backend,
            cu_seqlens=cu_seqlens, chunk_indices=chunk_indices, **kwargs)
        if cu_seqlens is not None and self._is_decoding(x, cache, state, cu_seqlens):
            state = cache.copy_(state)
        return y, state

    @staticmethod
    def _is_decoding(x, cache, state, cu_seqlens) -> bool:
        """Whether each sequence has one token, going by their numbers, and the cache may be overwritten."""
        if state is None or cache is None or cache.shape != state.shape or x.shape[1] != cu_seqlens.shape[0] - 1:
            return False
        return not (torch.is_grad_enabled() and (cache.requires_grad or state.requires_grad))

    def step(
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        cache: torch.Tensor | None,
        output_final_state: bool = False,
        cu_seqlens: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One token of each of N sequences: ``x [N, 1, D]``, or [1, N, D] packed.

        Returns y like x and the cache [N, D, W], updated in place, when there is one or
        ``output_final_state`` asks for it.
        """
        y, state = causal_conv1d_update(x, cache, residual, self.weight.squeeze(1), self.bias, self.activation)
        return y, state if output_final_state or cache is not None else None

    @property
    def state_size(self) -> int:
        """Numbers in the state of one sequence."""
        return self.hidden_size * self.kernel_size[0]
