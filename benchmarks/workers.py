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


def _context(forked: bool):
    """How workers start: from nothing, or from one process that has imported what takes seconds and has touched no device."""
    if not forked or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "fla.lang"])
    return context


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
    def __init__(self, context, function, prepare, place: int):
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


def run_tasks(function, tasks, deadline: float, each: float = 240.0, jobs: int = 0, prepare=None, on_end=None, choose=None, forked: bool = False):
    """Calls function(task) for the tasks until the deadline (time.monotonic()).

    They begin in their order, or as choose(tasks left, [(task, result, problem)] so far)
    picks one by its index. Workers that are `forked` begin sooner, in the environment of the
    first of them. `prepare` gets the worker's place, from 0, of those at once.
    Returns ([(task, result or None, problem or "")], tasks that were left out). A task
    that runs when the deadline comes is left out too.
    """
    jobs = min(jobs or processors(), len(tasks))
    todo, done, left = list(tasks), [], []
    context = _context(forked)
    workers = [_Worker(context, function, prepare, i) for i in range(jobs)]

    def finish(i: int, result, problem: str) -> None:
        done.append((workers[i].task, result, problem))
        workers[i].task = None
        if on_end:
            on_end(len(done), done[-1])

    def replace(i: int) -> None:
        workers[i].end()
        workers[i] = _Worker(context, function, prepare, i)

    while time.monotonic() < deadline and (todo or any(w.task is not None for w in workers)):
        for worker in workers:
            if worker.task is None and todo:
                worker.give(todo.pop(choose(todo, done) if choose else 0))
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
