"""Timing: contestants in alternation, so that what slows the machine down slows all of them down; and one call alone."""

from __future__ import annotations

import statistics
import time

import torch

__all__ = ["alternate", "fastest", "finish"]


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


def finish(device: str) -> None:
    """Waits until a device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def fastest(function, device: str, rounds: int = 5, warm_up: int = 2) -> float:
    """The shortest of `rounds` calls in seconds, after those that compile and fill caches."""
    times = []
    for _ in range(warm_up + rounds):
        finish(device)
        begin = time.perf_counter()
        function()
        finish(device)
        times.append(time.perf_counter() - begin)
    return min(times[warm_up:])
