"""Runs libraries in turn on the same arrays: A B C A B C, each in its own process."""

import contextlib
import json
import os
import pathlib
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import workloads
from workloads import Workload

_WORKER = pathlib.Path(__file__).parent / "peers" / "worker.py"
# Libraries share a GPU: none may take all of its memory at the start.
_ENVIRONMENT = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_PATIENCE = 600.0  # seconds for what is ours, and no library's to exceed


class StoppedError(Exception):
    """A library gave no answer: its process is gone. Holds a status and a reason."""


class Runner:
    """A process that selects when told to, and is stopped when it takes too long."""

    def __init__(self, label: str, workload: Workload, folder: pathlib.Path):
        name, _, devices = label.partition(" x")
        flags = os.environ.get("XLA_FLAGS", "")
        if devices:
            flags += f" --xla_force_host_platform_device_count={devices}"
        command = [sys.executable, "-u", str(_WORKER), name, workload.work]
        self.process = subprocess.Popen(
            [*command, str(folder), str(workload.batch_size)],
            env=os.environ | _ENVIRONMENT | {"XLA_FLAGS": flags},
            start_new_session=True,  # Ctrl-C is for the parent, which stops them
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._drain, daemon=True).start()
        self.errors = ""

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.startswith("@"):  # libraries print too
                self.lines.put(line[1:])
        self.lines.put("")

    def _drain(self) -> None:
        for line in self.process.stderr:
            self.errors = line.strip() or self.errors

    def answer(self, limit: float) -> dict:
        """Waits for one line, `limit` seconds at most."""
        try:
            line = self.lines.get(timeout=limit)
        except queue.Empty:
            self.stop()
            raise StoppedError("over the limit", f"more than {limit:.0f} s") from None
        if not line:
            status = self.process.wait()
            raise StoppedError("failed", f"exit status {status}: {self.errors}"[:300])
        found = json.loads(line)
        if "status" in found:
            self.stop()
            raise StoppedError(found["status"], found["why"])
        return found

    def ask(self, line: str, limit: float) -> dict:
        """Sends one line and waits for the answer."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer(limit)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def race(
    workload: Workload,
    labels: Sequence[str],
    *,
    repeats: int,
    limit: float,
    say: Callable[[str], None],
) -> dict:
    """Times every library on one workload.

    Args:
      workload: what to select from what.
      labels: libraries by name, "jaxal x2" for jaxal on two host devices.
      repeats: turns each takes; one whose turns together exceed `limit` takes no more.
      limit: seconds for one run, and for preparing it.
      say: is told how it goes.

    Returns:
      The workload, the machine's rates of every turn, and one entry a library; with
      `is_whole` False where Ctrl-C ended it between or amid turns.
    """
    results = {label: {"seconds": [], "cpu_seconds": []} for label in labels}
    machine: dict = {}
    turns: list[dict] = []
    is_whole = False
    with (
        tempfile.TemporaryDirectory() as name,
        contextlib.ExitStack() as running,
        contextlib.suppress(KeyboardInterrupt),
    ):
        field = _Field(workload, pathlib.Path(name), limit, say, running)
        workloads.write(workload, field.folder)
        rates = field.start("rates", machine)
        started = {label: field.start(label, results[label]) for label in labels}
        runners = {label: runner for label, runner in started.items() if runner}
        for turn in range(repeats):
            turns.append(rates.ask("measure", _PATIENCE))
            for label in list(runners):
                if sum(results[label]["seconds"]) > limit:
                    results[label]["why"] = f"more than {limit:.0f} s together"
                elif not field.turn(label, runners[label], turn, results[label]):
                    del runners[label]
        is_whole = True
    if not turns:  # nothing was measured
        raise KeyboardInterrupt
    return {"is_whole": is_whole, **_summary(workload, machine, turns, results)}


class _Field(NamedTuple):
    """Where libraries race: what, on which arrays, and for how long."""

    workload: Workload
    folder: pathlib.Path
    limit: float
    say: Callable[[str], None]
    running: contextlib.ExitStack

    def start(self, label: str, result: dict) -> Runner | None:
        """Starts a process and waits until it is ready."""
        runner = Runner(label, self.workload, self.folder)
        self.running.callback(runner.stop)
        try:
            result.update(runner.answer(_PATIENCE if label == "rates" else self.limit))
        except StoppedError as stopped:
            self._fail(label, result, stopped)
            return None
        return runner

    def turn(self, label: str, runner: Runner, turn: int, result: dict) -> bool:
        """Has a process select once; returns whether it did."""
        out, start = self.folder / "picks.npy", time.perf_counter()
        try:
            found = runner.ask(f"run {turn + 1} {out}", self.limit)
        except StoppedError as stopped:
            self._fail(label, result, stopped)
            result["seconds_until_stopped"] = time.perf_counter() - start
            return False
        for clock in ("seconds", "cpu_seconds"):
            result[clock].append(found.pop(clock))
        peak = max(result.get("bytes_peak", 0), found.pop("bytes_peak"))
        result.update(found, bytes_peak=peak)
        self.say(f"{label}: {result['seconds'][-1]:.3f} s")
        if turn == 0:
            result["quality"] = _quality(self.workload, self.folder, np.load(out))
        return True

    def _fail(self, label: str, result: dict, stopped: StoppedError) -> None:
        result["status"], result["why"] = stopped.args
        self.say(f"{label}: {result['status']}, {result['why']}")


def _summary(
    workload: Workload, machine: dict, turns: list[dict], results: dict
) -> dict:
    rates = {
        rate: statistics.median(found[rate] for found in turns) for rate in turns[0]
    }
    return {
        "machine": machine,
        "workload": workload._asdict(),
        "rates": rates,
        "rates_of_turns": turns,
        "floor_seconds": workload.flops / rates["flops"],
        "floor_cpu_seconds": workload.flops / rates["flops_per_cpu_second"],
        "copy_seconds": workload.bytes / rates["bytes"],
        "results": results,
    }


def _quality(workload: Workload, folder: pathlib.Path, picks: np.ndarray) -> dict:
    distinct = len(np.unique(picks))
    if workload.work not in workloads.SPREADING:
        return {"distinct": distinct}
    arrays = workloads.read(folder)
    spread = workloads.quality(workload.work, arrays, picks)
    return {"distinct": distinct, "spread": spread}
