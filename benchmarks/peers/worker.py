"""One library in a process of its own: `worker.py NAME WORK FOLDER BATCH_SIZE`.

For each line `run SEED OUT` on its input it selects once, writes the picks to `OUT` and
prints a line of JSON. Apart from the parent, so that it can be stopped and its memory
be told from that of others.
"""

import contextlib
import json
import os
import pathlib
import re
import sys
import time

_HERE = pathlib.Path(__file__)
sys.path[:0] = [str(_HERE.parents[1]), str(_HERE.parents[2])]


import numpy as np  # noqa: E402
import workloads  # noqa: E402

import peers  # noqa: E402


def memory(field: str) -> int:
    """Bytes the process holds now (VmRSS) or held at most (VmHWM), 0 if not known."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found.group(1)) * 1024 if found else 0


def bound_memory() -> None:
    """Lets no library take the machine down: what asks for more gets a MemoryError."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
        most = int(0.8 * page * pages)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def forget_peak() -> None:
    """Makes VmHWM count from now on."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def timed(run: peers.Run, seed: int, out: str) -> dict:
    """Selects once."""
    before = memory("VmRSS")
    forget_peak()
    start, cpu_start = time.perf_counter(), time.process_time()
    picks = np.asarray(run(seed))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    np.save(out, picks)
    peak = {"bytes_before": before, "bytes_peak": memory("VmHWM")}
    taken = {"seconds": seconds, "cpu_seconds": cpu_seconds}
    return {**taken, **peak, **getattr(run, "facts", {})}


def prepare(name: str, task: peers.Task) -> tuple[peers.Run, dict]:
    """Returns a run that has loaded and compiled what it needs.

    Only jaxal has whole runs behind it then, which is why a table leaves out the first
    turn of every library.
    """
    start, whole_runs = time.perf_counter(), int(name == "jaxal")
    if whole_runs:  # compiled for these sizes
        run = peers.prepare(name, task)
        run(0)
    else:
        labelled = np.flatnonzero(task.arrays["is_labelled"][:256])
        if task.work == "coreset" and not labelled.size:
            small = {k: np.array(v[:256]) for k, v in task.arrays.items()}
            small["is_labelled"][:8] = True
            peers.prepare(name, task._replace(arrays=small, batch_size=4))(0)
        else:
            peers.prepare(name, task.head(256, 4))(0)
        run = peers.prepare(name, task)
    seconds = time.perf_counter() - start
    return run, {"seconds_to_prepare": seconds, "whole_runs_to_prepare": whole_runs}


def answer(line: dict) -> None:
    """Prints one line for the parent."""
    print("@" + json.dumps(line), flush=True)


def main() -> None:
    name, work, folder, batch_size = sys.argv[1:5]
    if name == "rates":
        import harness  # starts JAX, which other libraries have no need of
        import rates

        answer(harness.machine())
        for _ in sys.stdin:
            answer(rates.measure())
        return
    arrays = workloads.read(pathlib.Path(folder))
    bound_memory()
    try:
        run, facts = prepare(name, peers.Task(work, arrays, int(batch_size)))
    except peers.NotOfferedError as error:
        return answer({"status": "not offered", "why": str(error)})
    except ImportError as error:
        return answer({"status": "not installed", "why": str(error)})
    del arrays
    answer(facts)
    for line in sys.stdin:
        _, seed, out = line.split(maxsplit=2)
        answer(timed(run, int(seed), out.strip()))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # whatever a library raises is its result
        answer({"status": "failed", "why": f"{type(error).__name__}: {error}"[:300]})
