"""What code around the operators asks of its surroundings: the device, comparisons, small decorators.

Nothing touches a device at import: ``device``, ``is_nvidia_hopper`` and their like
are found out when they are first read, and ``from fla.utils import device`` reads it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import logging
import platform
import re
import warnings
import weakref
from enum import Enum

import torch

from . import knobs

logger = logging.getLogger(__name__)

__all__ = ["assert_close", "get_abs_err", "get_err_ratio", "tensor_cache", "input_guard", "contiguous", "checkpoint",
           "require_version", "deprecate_kwarg", "Action", "Backend", "check_shared_mem", "get_all_max_shared_mem",
           "get_multiprocessor_count", "get_device_capability", "get_device_smem_optin", "get_available_device",
           "check_pytorch_version", "custom_device_ctx", "find_spec_cached"]


def _numbers(version: str) -> list[int]:
    """The leading numbers of a version: 2.13.0+cpu gives [2, 13, 0]."""
    return [int(x) for x in re.match(r"\d+(\.\d+)*", version).group().split(".")]


# Comparisons.
def get_abs_err(x: torch.Tensor, y: torch.Tensor) -> float:
    """Largest absolute difference."""
    return (x.detach() - y.detach()).abs().max().item()


def _rms(x: torch.Tensor) -> float:
    return x.square().mean().sqrt().item()


def get_err_ratio(x: torch.Tensor, y: torch.Tensor) -> float:
    """Root mean square of the difference, relative to that of x."""
    x, y = x.detach(), y.detach()
    return _rms(x - y) / (_rms(x) + 1e-8)


def assert_close(prefix: str, ref: torch.Tensor, tri: torch.Tensor, ratio: float, warning: bool = False,
                 err_atol: float = 1e-6) -> None:
    """Asserts that `tri` is `ref` up to a relative root mean square error of `ratio`.

    Differences up to `err_atol` everywhere pass; a NaN never does. With `warning`
    a larger error is a warning. Raises AssertionError naming both errors.
    """
    largest, relative = get_abs_err(ref, tri), get_err_ratio(ref, tri)
    name = prefix.strip()
    message = f"{name}: largest difference {largest:.6f}, relative error {relative:.6f}, expected below {ratio}"
    logger.info(message)
    if largest <= err_atol:
        return
    for which, x in (("expected", ref), ("result", tri)):
        assert not torch.isnan(x).any(), f"{name}: NaN in the {which}"
    if not warning:
        assert relative < ratio, message
    elif relative >= ratio:
        warnings.warn(message, stacklevel=2)


# Decorators.
FLA_DISABLE_TENSOR_CACHE = knobs.get("disable_tensor_cache") == "1"
_REMEMBERED = 4  # results that a tensor_cache keeps


def _mark(x):
    """What tells an argument from others: a tensor is told by identity and by how often it was written to."""
    return (weakref.ref(x), x._version) if isinstance(x, torch.Tensor) else x


def _is(mark, x) -> bool:
    if isinstance(x, torch.Tensor):
        return isinstance(mark, tuple) and len(mark) == 2 and isinstance(mark[0], weakref.ref) \
            and mark[0]() is x and mark[1] == x._version
    return mark is x or type(mark) is type(x) and isinstance(x, (int, float, str)) and mark == x


def tensor_cache(fn):
    """Remembers the last few results of a function of tensors.

    A call is known when its tensors are the very objects of an earlier call, not
    written to since, and its other arguments are equal. Tensors that nobody else
    holds are not kept alive. ``FLA_DISABLE_TENSOR_CACHE=1`` turns it off.
    """
    known: list[tuple] = []

    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        if globals()["FLA_DISABLE_TENSOR_CACHE"] or torch.compiler.is_compiling():
            return fn(*args, **kwargs)
        for seen, named, result in known:
            if len(seen) == len(args) and named.keys() == kwargs.keys() and all(map(_is, seen, args)) \
                    and all(_is(named[k], x) for k, x in kwargs.items()):
                return result
        result = fn(*args, **kwargs)
        known.append((tuple(map(_mark, args)), {k: _mark(x) for k, x in kwargs.items()}, result))
        del known[:-_REMEMBERED]
        return result

    return wrapper


def _first_tensor(args, kwargs) -> torch.Tensor | None:
    return next((x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)), None)


def input_guard(fn=None, *, no_guard_contiguous=False):
    """Makes tensor arguments contiguous and runs on the device of the first of them.

    no_guard_contiguous: True, or names of parameters, whose tensors stay as they are.
    """
    if fn is None:
        return functools.partial(input_guard, no_guard_contiguous=no_guard_contiguous)
    kept = set() if isinstance(no_guard_contiguous, bool) else set(no_guard_contiguous)
    names = list(inspect.signature(fn).parameters)

    def dense(name, x):
        as_it_is = no_guard_contiguous is True or name in kept or not isinstance(x, torch.Tensor)
        return x if as_it_is else x.contiguous()

    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        first = _first_tensor(args, kwargs)
        given = [dense(names[i] if i < len(names) else None, x) for i, x in enumerate(args)]
        with contextlib.nullcontext() if first is None else custom_device_ctx(first.device.index):
            return fn(*given, **{name: dense(name, x) for name, x in kwargs.items()})

    return wrapper


contiguous = input_guard


def checkpoint(fn):
    """The function with its activations computed again in the backward."""
    from torch.utils.checkpoint import checkpoint as again

    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        return again(fn, *args, use_reentrant=False, **kwargs)

    return wrapper


def require_version(version: str, hint: str):
    """Decorates a method to demand a package, written as pip writes it, before it runs."""
    def decorator(fn):
        @functools.wraps(fn)
        def wrapper(self, *args, **kwargs):
            from transformers.utils.versions import require_version as demand
            demand(version, hint)
            return fn(self, *args, **kwargs)

        return wrapper

    return decorator


class Action(Enum):
    """What a deprecated keyword does."""

    NONE = "none"
    NOTIFY = "notify"
    NOTIFY_ALWAYS = "notify_always"
    RAISE = "raise"


def deprecate_kwarg(old_name: str, version: str, new_name: str | None = None,
                    warn_if_greater_or_equal_version: bool = False, raise_if_greater_or_equal_version: bool = False,
                    raise_if_both_names: bool = False, additional_message: str | None = None):
    """Decorates a function whose keyword `old_name` goes with `version`, in favour of `new_name`.

    Until then its use is a FutureWarning; from then on nothing, a warning or a
    ValueError as the arguments say. Both names at once keep the new one and always
    warn, or raise ValueError with `raise_if_both_names`.
    """
    from . import __version__
    passed = _numbers(__version__) >= _numbers(version)
    when = f"since version {version}" if passed else f"and goes with version {version}"

    def action(both: bool) -> Action:
        if passed and raise_if_greater_or_equal_version or both and raise_if_both_names:
            return Action.RAISE
        if both:
            return Action.NOTIFY_ALWAYS
        return Action.NONE if passed and not warn_if_greater_or_equal_version else Action.NOTIFY

    def decorator(fn):
        @functools.wraps(fn)
        def wrapper(*args, **kwargs):
            if old_name not in kwargs:
                return fn(*args, **kwargs)
            both = new_name is not None and new_name in kwargs
            old = kwargs.pop(old_name) if new_name is not None else None
            if new_name is not None and not both:
                kwargs[new_name] = old
            instead = f"; {new_name} is used" if both else f"; use {new_name}" if new_name else ""
            message = f"{fn.__qualname__}: argument '{old_name}' is deprecated {when}{instead}"
            message = f"{message}. {additional_message}" if additional_message else message
            what = action(both)
            if what is Action.RAISE:
                raise ValueError(message)
            if what is not Action.NONE:
                warnings.warn(message, FutureWarning, stacklevel=2)
            return fn(*args, **kwargs)

        return wrapper

    return decorator


# The device.
class Backend(Enum):
    """Bytes of shared memory that a block can have."""

    ADA = 101376
    AMPERE = 166912
    HOPPER = 232448
    DEFAULT = 102400

    @classmethod
    def get_shared_memory(cls, arch: str) -> int:
        return cls.__members__.get(arch.upper(), cls.DEFAULT).value


@functools.lru_cache(maxsize=None)
def get_available_device() -> str:
    """``cuda`` (NVIDIA), ``hip`` (AMD) or ``cpu``: where programs run by default."""
    if not torch.cuda.is_available():
        return "cpu"
    return "hip" if torch.version.hip else "cuda"


def map_triton_backend_to_torch_device() -> str:
    """PyTorch's name of the device."""
    return "cuda" if get_available_device() == "hip" else get_available_device()


@functools.lru_cache(maxsize=None)
def get_device_capability(device_index: int = 0) -> tuple[int, int]:
    """Compute capability of a GPU of NVIDIA's."""
    major, minor = torch.cuda.get_device_capability(device_index)
    return int(major), int(minor)


@functools.lru_cache(maxsize=None)
def get_device_smem_optin(device_index: int = 0) -> int:
    """Bytes of shared memory that a block of a GPU can ask for."""
    properties = torch.cuda.get_device_properties(device_index)
    return int(getattr(properties, "shared_memory_per_block_optin", properties.shared_memory_per_block))


def get_all_max_shared_mem() -> list[int]:
    """Bytes of shared memory a block, of every GPU; [-1] without any."""
    if get_available_device() == "cpu":
        return [-1]
    return [get_device_smem_optin(i) for i in range(torch.cuda.device_count())]


@functools.lru_cache(maxsize=None)
def check_shared_mem(arch: str = "none", tensor_idx: int = 0) -> bool:
    """Whether blocks can have the shared memory of `arch` (ada, ampere, hopper). A CPU sets no limit."""
    if get_available_device() == "cpu":
        return True
    sizes = get_all_max_shared_mem()
    return tensor_idx < len(sizes) and sizes[tensor_idx] >= Backend.get_shared_memory(arch)


@functools.lru_cache(maxsize=None)
def get_multiprocessor_count(tensor_idx: int = 0) -> int:
    """Multiprocessors (compute units) of a GPU; 1 for a CPU."""
    if get_available_device() == "cpu":
        return 1
    return torch.cuda.get_device_properties(tensor_idx).multi_processor_count


@functools.lru_cache(maxsize=None)
def check_pytorch_version(version_s: str = "2.4") -> bool:
    """Whether PyTorch is at least of this version."""
    return _numbers(torch.__version__) >= _numbers(version_s)


@functools.lru_cache(maxsize=None)
def find_spec_cached(name: str):
    """importlib.util.find_spec, asked once; None for what cannot be found."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def custom_device_ctx(index: int | None):
    """The context in which GPU `index` is the current one; no context for a CPU, whose index is None."""
    return contextlib.nullcontext() if index is None else torch.cuda.device(index)


class _HostLibrary:
    """torch.cpu, with what programs ask of torch.cuda and it has not: seeding, and a cache of memory to empty."""

    @staticmethod
    def manual_seed(seed: int) -> None:
        """Seeds the random numbers of the host."""
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    @staticmethod
    def empty_cache() -> None:
        """Nothing: freed memory of the host is not kept."""

    @staticmethod
    def device(index: int | None) -> contextlib.AbstractContextManager:
        """A context that changes nothing: there is one host."""
        return contextlib.nullcontext()

    def __getattr__(self, name: str):
        return getattr(torch.cpu, name)

    def __dir__(self):
        return sorted({*super().__dir__(), *dir(torch.cpu)})


def _device_library():
    """What torch calls the device's functions by: torch.cuda, or torch.cpu and more."""
    return torch.cuda if map_triton_backend_to_torch_device() == "cuda" else _HostLibrary()


def _nvidia(test) -> bool:
    return get_available_device() == "cuda" and bool(test(get_device_capability()))


# Read when asked for: some of these look at the GPU.
_FACTS = {
    "device": map_triton_backend_to_torch_device,
    "device_name": map_triton_backend_to_torch_device,
    "device_platform": get_available_device,
    "device_torch_lib": _device_library,
    "autocast_custom_fwd": lambda: functools.partial(torch.amp.custom_fwd, device_type=__getattr__("device")),
    "autocast_custom_bwd": lambda: functools.partial(torch.amp.custom_bwd, device_type=__getattr__("device")),
    "IS_NVIDIA": lambda: get_available_device() == "cuda",
    "IS_AMD": lambda: get_available_device() == "hip",
    "IS_INTEL": lambda: False,
    "IS_INTEL_ALCHEMIST": lambda: False,
    "IS_NPU": lambda: False,
    "IS_ARM": lambda: platform.machine().lower() in ("aarch64", "arm64"),
    "IS_NVIDIA_HOPPER": lambda: _nvidia(lambda c: c[0] == 9),
    "IS_NVIDIA_BLACKWELL": lambda: _nvidia(lambda c: c[0] in (10, 12)),
    "IS_NVIDIA_SM100": lambda: _nvidia(lambda c: c[0] == 10),
    "IS_NVIDIA_SM120": lambda: _nvidia(lambda c: c == (12, 0)),
    "IS_TF32_SUPPORTED": lambda: _nvidia(lambda c: c[0] >= 8),
    "IS_TMA_SUPPORTED": lambda: _nvidia(lambda c: c[0] >= 9),
    "IS_GATHER_SUPPORTED": lambda: get_available_device() != "cpu",
}


def __getattr__(name: str):
    fact = _FACTS.get(name.upper() if name.startswith("is_") else name)
    if fact is None:
        raise AttributeError(f"module 'fla.utils' has no attribute {name!r}")
    value = globals()[name] = fact()
    return value


def __dir__():
    return sorted({*globals(), *_FACTS, *(name.lower() for name in _FACTS if name.startswith("IS_"))})
