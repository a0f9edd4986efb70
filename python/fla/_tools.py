"""The commands fla-opt, fla-translate and fla-check of an installed package.

Their code is inside libfla (a checkout has programs of its own in build/bin).
"""

import ctypes
import os
import signal
import sys

__all__ = ["fla_opt", "fla_translate", "fla_check"]


def _run(name: str) -> int:
    from ._native import library_path
    library = ctypes.CDLL(str(library_path()))
    if not hasattr(library, "fla_tool"):
        print(f"{name}: expected a libfla with the tools inside, got {library_path()}, a development build; "
              f"its own {name} is in build/bin", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    arguments = [os.fsencode(argument) for argument in [name, *sys.argv[1:]]]
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None)
    return library.fla_tool(name.encode(), len(arguments), argv)


def fla_opt() -> int:
    return _run("fla-opt")


def fla_translate() -> int:
    return _run("fla-translate")


def fla_check() -> int:
    return _run("fla-check")
