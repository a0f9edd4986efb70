"""How modules of this package take part in ``torch.distributed.tensor.parallel.parallelize_module``.

A style says where a module's inputs, parameters and outputs lie on a mesh of processes. The
file is apart because importing PyTorch's distributed tensors takes long.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn as nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_module
from torch.distributed.tensor.parallel import ParallelStyle

__all__ = ["LinearLossParallel", "NormParallel", "PrepareModuleWeight", "SwiGLULinearParallel"]


def _placed(x, mesh: DeviceMesh, now: tuple[Placement, ...], wanted: tuple[Placement, ...]):
    """``x`` placed as wanted; one that is no distributed tensor yet lies as ``now`` says. None stays None."""
    if x is None:
        return None
    if not isinstance(x, DTensor):
        x = DTensor.from_local(x, mesh, now, run_check=False)
    return x if tuple(x.placements) == tuple(wanted) else x.redistribute(placements=wanted, async_op=True)


def _hold_parameters(layout: Placement, name: str, module: nn.Module, mesh: DeviceMesh) -> None:
    """Makes distributed tensors of a module's own parameters, which lie as ``layout`` says already."""
    for own, parameter in list(module.named_parameters(recurse=False)):
        held = DTensor.from_local(parameter, mesh, [layout], run_check=False)
        module.register_parameter(own, nn.Parameter(held, requires_grad=parameter.requires_grad))


def _local(use_local_output: bool, module: nn.Module, outputs, mesh: DeviceMesh):
    return outputs.to_local() if use_local_output and isinstance(outputs, DTensor) else outputs


class PrepareModuleWeight(ParallelStyle):
    """Makes distributed tensors of a module's parameters, which lie as ``layouts`` says (replicated by default)."""

    def __init__(self, *, layouts: Placement | None = None):
        super().__init__()
        self.layouts = layouts

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        return distribute_module(module, device_mesh, partial(_hold_parameters, self.layouts or Replicate()))


class NormParallel(ParallelStyle):
    """A norm over rows that are spread along ``sequence_dim``; its parameters are replicated.

    An input that is no distributed tensor is taken for this process's part of the sequence.
    Raises ValueError for an input that is no tensor.
    """

    def __init__(self, *, sequence_dim: int = 1, use_local_output: bool = False):
        super().__init__()
        self.sequence_sharding = (Shard(sequence_dim),)
        self.use_local_output = use_local_output

    @staticmethod
    def _prepare_input_fn(sharding, module, inputs, mesh):
        if not isinstance(inputs[0], torch.Tensor):
            raise ValueError(f"expected a tensor for {module}, got {type(inputs[0]).__name__}")
        return _placed(inputs[0], mesh, sharding, sharding)

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        return distribute_module(module, device_mesh, partial(_hold_parameters, Replicate()),
                                 partial(self._prepare_input_fn, self.sequence_sharding),
                                 partial(_local, self.use_local_output))


class LinearLossParallel(ParallelStyle):
    """A fused linear loss over tokens that are spread along ``sequence_dim``; weight and bias are gathered.

    Inputs are x, target, weight and bias by position. The loss is that of this process's tokens.
    """

    def __init__(self, *, sequence_dim: int = 1, use_local_output: bool = False):
        super().__init__()
        self.sequence_sharding = (Shard(sequence_dim),)
        self.use_local_output = use_local_output

    @staticmethod
    def _prepare_input_fn(sharding, module, inputs, mesh):
        x, target, weight, bias = (*inputs, None)[:4]
        whole = (Replicate(),)
        placed = (_placed(x, mesh, sharding, sharding), _placed(target, mesh, whole, sharding),
                  _placed(weight, mesh, whole, whole), _placed(bias, mesh, whole, whole))
        return tuple(None if t is None else t.to_local() for t in placed)

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        return distribute_module(module, device_mesh, None,
                                 partial(self._prepare_input_fn, self.sequence_sharding),
                                 partial(_local, self.use_local_output))


class SwiGLULinearParallel(ParallelStyle):
    """SwiGLULinear over channels that are spread: each process multiplies its own, the products are summed.

    ``input_layouts`` says how x and y lie (along channels by default), ``output_layouts`` how the
    result shall (replicated by default).
    """

    def __init__(self, *, input_layouts: Placement | None = None, output_layouts: Placement | None = None,
                 use_local_output: bool = True):
        super().__init__()
        self.input_layouts = (input_layouts or Shard(-1),)
        self.output_layouts = (output_layouts or Replicate(),)
        self.desired_input_layouts = (Shard(-1),)
        self.use_local_output = use_local_output

    @staticmethod
    def _prepare_input_fn(given, wanted, module, inputs, mesh):
        x, y, weight, bias = (*inputs, None)[:4]
        columns, whole = (Shard(1),), (Replicate(),)
        return (_placed(x, mesh, given, wanted), _placed(y, mesh, given, wanted),
                _placed(weight, mesh, columns, columns), _placed(bias, mesh, whole, whole))

    @staticmethod
    def _prepare_output_fn(layouts, use_local_output, module, outputs, mesh):
        if tuple(outputs.placements) != tuple(layouts):
            outputs = outputs.redistribute(placements=layouts, async_op=True)
        return _local(use_local_output, module, outputs, mesh)

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        return distribute_module(module, device_mesh, None,
                                 partial(self._prepare_input_fn, self.input_layouts, self.desired_input_layouts),
                                 partial(self._prepare_output_fn, self.output_layouts, self.use_local_output))
