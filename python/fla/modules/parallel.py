"""Tensor-parallel styles for PyTorch's ``parallelize_module``; see :mod:`fla.modules._tensor_parallel`."""

from ._tensor_parallel import LinearLossParallel, NormParallel, PrepareModuleWeight, SwiGLULinearParallel

__all__ = ["LinearLossParallel", "NormParallel", "PrepareModuleWeight", "SwiGLULinearParallel"]
