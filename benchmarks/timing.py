"""Timing in alternation: what slows the machine down slows every contestant down."""

from __future__ import annotations

import statistics
import time

__all__ = ["alternate"]


def alternate(contestants: dict, rounds: int = 5, warm_up: int = 1) -> dict[str, float]:
    """Median seconds a call of each of {name: function}, one call of each a round."""
    for function in [*contestants.values()] * warm_up:
        function()
    seconds = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, function in contestants.items():
            begin = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}
