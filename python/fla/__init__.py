"""fla: linear-attention recurrences, compiled.

``fla.lang`` is the language in Python, ``fla.lang.load(name)`` gives the library's
definitions; ``fla.ops``, ``fla.modules``, ``fla.layers`` and ``fla.models`` are what
is built on them. All are found at their first use: importing this package loads
neither torch nor transformers, and touches no device.
"""

import importlib

__version__ = "0.4.0"
__distribution__ = "fla-compiler"  # other packages are imported as fla too, see _identity.py
_PARTS = ("lang", "knobs", "utils", "ops", "modules", "layers", "models")
__all__ = [*_PARTS, "accelerate", "compilations"]


def __getattr__(name: str):
    if name in _PARTS:
        return importlib.import_module(f".{name}", __name__)
    if name[:1].isupper():  # layers and models have their names here, too
        for part in ("layers", "models"):
            module = importlib.import_module(f".{part}", __name__)
            if name in getattr(module, "__all__", ()):
                return getattr(module, name)
    if name == "accelerate":
        from .acceleration import accelerate
        return accelerate
    raise AttributeError(f"module 'fla' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})


def compilations() -> int:
    """Programs that this process compiled, those from the disk cache excluded."""
    from ._native import native
    return native().compilations()


def _register_models() -> None:
    """Lets the auto classes of transformers find fla.models, once somebody loads them."""
    from ._registration import install
    install()


_register_models()
