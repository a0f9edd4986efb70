"""Tasks in processes of their own, as many at once as there are processors.

A worker that dies (a fault on the device, a crash) or takes too long loses its task
alone: the task is reported and another worker starts.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.connection import wait

__all__ = ["processors", "run_tasks"]


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _serve(pipe, function, prepare, place: int) -> None:
    if prepare is not None:
        prepare(place)
    while True:
        task = pipe.recv()
        if task is None:
            return
        try:
            pipe.send((True, function(task)))
        except Exception as error:  # a task's failure is its result
            pipe.send((False, f"{type(error).__name__}: {error}"))
            if "CUDA" in str(error):  # the context may be broken: what follows starts afresh
                return


class _Worker:
    def __init__(self, function, prepare, place: int):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, prepare, place), daemon=True)
        self.process.start()
        theirs.close()
        self.task, self.since = None, 0.0

    def give(self, task) -> None:
        self.task, self.since = task, time.monotonic()
        try:
            self.pipe.send(task)
        except OSError:  # it died while it had nothing to do: its pipe ends, which is seen there
            pass

    def end(self) -> None:
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(5)
        if self.process.is_alive():  # inside a driver's call, say
            self.process.kill()
        self.process.join()
        self.pipe.close()


def run_tasks(function, tasks, deadline: float, each: float = 150.0, jobs: int = 0, prepare=None, on_end=None):
    """Calls function(task) for the tasks in their order until the deadline (time.monotonic()).

    `prepare` gets the worker's place, from 0, of those at once. Returns ([(task, result
    or None, problem or "")], tasks that were left out). A task that runs when the
    deadline comes is left out too.
    """
    jobs = min(jobs or processors(), len(tasks))
    todo, done, left = list(tasks), [], []
    workers = [_Worker(function, prepare, i) for i in range(jobs)]

    def finish(i: int, result, problem: str) -> None:
        done.append((workers[i].task, result, problem))
        workers[i].task = None
        if on_end:
            on_end(len(done), done[-1])

    def replace(i: int) -> None:
        workers[i].end()
        workers[i] = _Worker(function, prepare, i)

    while time.monotonic() < deadline and (todo or any(w.task is not None for w in workers)):
        for worker in workers:
            if worker.task is None and todo:
                worker.give(todo.pop(0))
        ready = wait([w.pipe for w in workers if w.task is not None], timeout=0.5)
        for i, worker in enumerate(workers):
            if worker.task is None:
                continue
            if worker.pipe in ready:
                try:
                    right, result = worker.pipe.recv()
                    finish(i, result if right else None, "" if right else result)
                    if not worker.process.is_alive() or (not right and "CUDA" in result):
                        replace(i)
                except (EOFError, OSError):
                    worker.process.join()
                    finish(i, None, f"its process ended with status {worker.process.exitcode}")
                    replace(i)
            elif time.monotonic() - worker.since > each:
                finish(i, None, f"it took more than {each:.0f} s")
                replace(i)
    for worker in workers:
        if worker.task is not None:
            left.append(worker.task)
        worker.end()
    return done, left + todo
