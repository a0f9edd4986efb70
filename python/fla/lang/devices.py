"""GPUs: which one a tensor lies on, what is compiled for it, and where a launch goes.

PyTorch calls NVIDIA's and AMD's GPUs alike "cuda". Nothing here touches a device
before a tensor that lies on one is given.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import NamedTuple

import torch

__all__ = ["Place", "is_gpu", "index_of", "place_of", "precision", "processors", "stream_of", "value_address"]


class Place(NamedTuple):
    """A GPU and what programs are compiled for there."""

    index: int
    target: str
    precision: str


def is_gpu(device: torch.device) -> bool:
    """Whether programs for a GPU run on tensors of this device."""
    return device.type == "cuda"


@lru_cache(maxsize=None)
def _target(index: int) -> str:
    """``cuda:sm_90`` or ``hip:gfx942``."""
    if torch.version.hip:
        return "hip:" + torch.cuda.get_device_properties(index).gcnArchName.split(":")[0]
    major, minor = torch.cuda.get_device_capability(index)
    return f"cuda:sm_{major}{minor}"


@lru_cache(maxsize=None)
def processors(index: int) -> int:
    """Multiprocessors (compute units) of a GPU; 1 where PyTorch has no such device."""
    if index >= torch.cuda.device_count():
        return 1
    return torch.cuda.get_device_properties(index).multi_processor_count


# One question whatever way the user set it, where this PyTorch has it.
_ask_precision = getattr(torch._C, "_get_fp32_precision_getter", None)


def precision() -> str:
    """How float32 is multiplied, as PyTorch's matrix products are told: ieee or tf32."""
    if _ask_precision is not None:
        return "tf32" if _ask_precision("cuda", "matmul") == "tf32" else "ieee"
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def index_of(device: torch.device) -> int:
    """PyTorch's and the driver's number of a GPU."""
    return torch.cuda.current_device() if device.index is None else device.index


def place_of(device: torch.device) -> Place | None:
    """The GPU that a device is; None for the CPU."""
    if not is_gpu(device):
        return None
    index = index_of(device)
    return Place(index, _target(index), precision())


_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)


def stream_of(index: int) -> int:
    """Handle of the current stream of a GPU."""
    return _raw_stream(index) if _raw_stream is not None else torch.cuda.current_stream(index).cuda_stream


# Run-time numbers on the device, by number, GPU and stream: what one stream wrote
# another may not see yet. Kept for good, since a captured graph may hold an address.
_VALUES: dict[tuple[float, int, int], torch.Tensor] = {}
_VALUES_KEPT = 4096
_VALUES_LOCK = threading.Lock()


def value_address(value: float, index: int, stream: int) -> tuple[int, torch.Tensor, bool]:
    """(address, tensor to keep until the launch, whether it is kept for good) of a float64 on the GPU that holds `value`.

    A number seen before on this stream costs a look-up: no allocation, no copy,
    no synchronisation. A new one is written on the current stream.
    """
    key = (value, index, stream)
    known = _VALUES.get(key) if value else None  # 0.0 and -0.0 are equal keys
    kept = known is not None
    if not kept:
        known = torch.full((1,), value, dtype=torch.float64, device=_device(index))
        with _VALUES_LOCK:
            # What a graph's capture writes holds nothing before the graph runs.
            kept = bool(value) and len(_VALUES) < _VALUES_KEPT and not _is_capturing()
            if kept:
                known = _VALUES.setdefault(key, known)
    return known.data_ptr(), known, kept


def _device(index: int) -> torch.device:
    return torch.device("cuda", index)


def _is_capturing() -> bool:
    return torch.cuda.is_current_stream_capturing()
