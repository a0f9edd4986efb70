"""Whether anything watches a call, and whether tensors are alike those of an earlier one."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

__all__ = ["GUARDED", "direct", "guards_of", "is_plain", "quiet"]

_TYPES = frozenset((torch.Tensor, torch.nn.Parameter))


def direct() -> bool:
    """Whether nothing watches operators: no mode, transform, trace or compiler."""
    return not (torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack()
                or torch._C._functorch.peek_interpreter_stack() is not None) and quiet()


def quiet() -> bool:
    """What guards do not see of `direct`."""
    return not (forward_ad._current_level >= 0 or torch._C._len_torch_function_stack()
                or torch._C._get_tracing_state() is not None)


def is_plain(x: torch.Tensor) -> bool:
    """Whether a launch may read the tensor's memory as it is."""
    return type(x) in _TYPES and not x.is_neg() and not torch._C._functorch.is_functorch_wrapped_tensor(x)


# torch.compile's check of a list of tensors: type, dispatch keys, dtype, device, sizes, strides.
_Guards = getattr(getattr(torch._C, "_dynamo", None) and torch._C._dynamo.guards, "TensorGuards", None)
GUARDED = _Guards is not None


def guards_of(tensors: list):
    """Answers `check(*tensors)`: whether tensors are alike these, for a launch, and seen by no mode or transform."""
    return _Guards(*tensors, dynamic_dims_sizes=[list(t.shape) for t in tensors],
                   dynamic_dims_strides=[list(t.stride()) for t in tensors])
