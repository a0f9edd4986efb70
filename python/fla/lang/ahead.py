"""Work that will be needed soon, on threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["begin"]


def begin(work: Callable[[], object]) -> threading.Thread:
    """Runs `work` meanwhile. Who needs its result asks for it as if nobody had, waits, and meets its errors.

    A thread each rather than a pool, whose threads a forked process would lack.
    """

    def run() -> None:
        try:
            work()
        except Exception:  # noqa: BLE001: the caller's own attempt raises it again, where it can be handled
            pass

    thread = threading.Thread(target=run, name="fla-ahead")
    thread.start()
    return thread
