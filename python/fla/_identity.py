"""Tells this package from the others that are imported as `fla`.

flash-linear-attention and fla-core install into the same folder, so whichever
comes last provides ``fla/__init__.py``, and removing either takes that file away.
What of ours needs ours calls ``require()``.
"""

import importlib.metadata
import sys

__all__ = ["DISTRIBUTION", "PEERS", "require", "other_distributions"]

DISTRIBUTION = "fla-compiler"
PEERS = ("flash-linear-attention", "fla-core")

_REPAIR = """\
These distributions share the import name fla: only one of them can be installed. For this one:
  pip uninstall -y {others}
  pip install --force-reinstall --no-deps {ours}
(the wheel's path in place of {ours}, if it came as a file). For the other one:
  pip uninstall -y {all}
  pip install {peer}"""


def other_distributions() -> list[str]:
    """The installed distributions that provide another `fla`."""
    found = []
    for name in PEERS:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def require() -> None:
    """Raises ImportError unless the loaded `fla` is this project's."""
    package = sys.modules.get(__name__.rpartition(".")[0])
    if getattr(package, "__distribution__", None) == DISTRIBUTION:
        return
    others = other_distributions() or list(PEERS)
    where = getattr(package, "__file__", None)
    loaded = f"the one at {where}" if where else "a folder without an __init__.py"
    raise ImportError(f"expected the package fla of {DISTRIBUTION}, got {loaded}.\n" + _REPAIR.format(
        others=" ".join(others), ours=DISTRIBUTION, all=" ".join([DISTRIBUTION, *others]), peer=others[0]))
