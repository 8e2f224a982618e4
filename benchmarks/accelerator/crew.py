"""Many small jobs that mostly compile, shared out to processes that can be stopped."""

import multiprocessing
import os
import queue
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

NOT_REACHED = "not reached: the time was up"
DIED = "its process died"

Job = Callable[[str], dict[str, Any]]


def answers(
    job: Job,
    names: Sequence[str],
    *,
    processes: int,
    end: float,
    env: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields `job(name)` for every name, as they come.

    Args:
      job: of a module's top level; what it raises becomes its answer.
      names: the most important first.
      processes: how many share them, at most one for every two cores; 0 for none but
        this one.
      end: by time.monotonic(); names without an answer then are said to have none.
      env: added to the environment of the processes.
    """
    processes = min(processes, max(1, (os.cpu_count() or 1) // 2))
    found = (
        _shared(job, names, processes, end, env or {})
        if processes
        else ((name, _answer(job, name)) for name in names if time.monotonic() < end)
    )
    missing = dict.fromkeys(names)
    for name, answer in found:
        missing.pop(name)
        yield name, answer
    said = NOT_REACHED if time.monotonic() >= end else DIED
    yield from ((name, {"status": said}) for name in missing)


def _shared(
    job: Job, names: Sequence[str], processes: int, end: float, env: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    context = multiprocessing.get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    for name in [*names, *[None] * processes]:
        tasks.put(name)
    crew = [
        context.Process(target=_work, args=(job, tasks, results), daemon=True)
        for _ in range(processes)
    ]
    with mock.patch.dict(os.environ, env):  # read before anything is imported there
        for process in crew:
            process.start()
    try:
        yield from _collected(crew, results, len(names), end)
    finally:
        for process in crew:
            process.kill()
            process.join()


def _collected(
    crew: Sequence[Any], results: Any, count: int, end: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    while count and time.monotonic() < end:
        is_alive = any(process.is_alive() for process in crew)
        try:
            yield results.get(timeout=0.2)
            count -= 1
        except queue.Empty:
            if not is_alive:  # nothing came after the last one ended
                return


def _work(job: Job, tasks: Any, results: Any) -> None:
    while (name := tasks.get()) is not None:
        results.put((name, _answer(job, name)))


def _answer(job: Job, name: str) -> dict[str, Any]:
    try:
        return job(name)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return {"status": said[:300], "traceback": traceback.format_exc()}
