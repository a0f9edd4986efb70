"""fla: linear-attention recurrences, compiled.

``fla.lang`` is the language in Python; ``fla.lang.load(name)`` gives the
library's definitions. Importing this package loads neither torch nor a device.
"""

import importlib

__version__ = "0.4.0"
__distribution__ = "fla-compiler"  # other packages are imported as fla too, see _identity.py
__all__ = ["lang", "knobs", "compilations"]


def __getattr__(name: str):
    if name in ("lang", "knobs"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'fla' has no attribute {name!r}")


def compilations() -> int:
    """Programs that this process compiled, those from the disk cache excluded."""
    from ._native import native
    return native().compilations()
