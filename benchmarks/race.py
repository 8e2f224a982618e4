"""Runs libraries in turn on the same arrays: A B C A B C, each in its own process."""

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

import numpy as np
import workloads
from workloads import Workload

_WORKER = pathlib.Path(__file__).parent / "peers" / "worker.py"
_PATIENCE = 600.0  # seconds for what is ours, and no library's to exceed


class StoppedError(Exception):
    """A library gave no answer: its process is gone. Holds a status and a reason."""


class Runner:
    """A process that selects when told to, and is stopped when it takes too long."""

    def __init__(self, label: str, work: str, folder: pathlib.Path, batch_size: int):
        name, _, devices = label.partition(" x")
        flags = os.environ.get("XLA_FLAGS", "")
        if devices:
            flags += f" --xla_force_host_platform_device_count={devices}"
        command = [sys.executable, "-u", str(_WORKER), name, work, str(folder)]
        self.process = subprocess.Popen(
            [*command, str(batch_size)],
            env=os.environ | {"XLA_FLAGS": flags, "PYTHONDONTWRITEBYTECODE": "1"},
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
      The workload, the machine's rates of every turn, and one entry a library.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        workloads.write(workload, folder)
        results = {label: {"seconds": [], "cpu_seconds": []} for label in labels}
        machine: dict = {}
        turns: list[dict] = []
        rates = _start("rates", workload, folder, _PATIENCE, machine, say)
        runners = {
            label: runner
            for label in labels
            if (runner := _start(label, workload, folder, limit, results[label], say))
        }
        for turn in range(repeats):
            turns.append(rates.ask("measure", _PATIENCE))
            for label, runner in list(runners.items()):
                result = results[label]
                if sum(result["seconds"]) > limit:
                    continue
                if not _turn(runner, turn, folder / "picks.npy", limit, result):
                    del runners[label]
                    say(f"{label}: {result['status']}, {result['why']}")
                    continue
                say(f"{label}: {result['seconds'][-1]:.3f} s")
                if turn == 0:
                    picks = np.load(folder / "picks.npy")
                    result["quality"] = _quality(workload, folder, picks)
        for runner in [rates, *runners.values()]:
            runner.stop()
    machine_rates = {
        rate: statistics.median(found[rate] for found in turns) for rate in turns[0]
    }
    return {
        "machine": machine,
        "workload": workload._asdict(),
        "rates": machine_rates,
        "rates_of_turns": turns,
        "floor_seconds": workload.flops / machine_rates["flops"],
        "floor_cpu_seconds": workload.flops / machine_rates["flops_per_cpu_second"],
        "copy_seconds": workload.bytes / machine_rates["bytes"],
        "results": results,
    }


def _start(
    label: str,
    workload: Workload,
    folder: pathlib.Path,
    limit: float,
    result: dict,
    say: Callable[[str], None],
) -> Runner | None:
    runner = Runner(label, workload.work, folder, workload.batch_size)
    try:
        result.update(runner.answer(limit))
    except StoppedError as stopped:
        result["status"], result["why"] = stopped.args
        say(f"{label}: {result['status']}, {result['why']}")
        return None
    return runner


def _turn(
    runner: Runner, turn: int, out: pathlib.Path, limit: float, result: dict
) -> bool:
    start = time.perf_counter()
    try:
        found = runner.ask(f"run {turn + 1} {out}", limit)
    except StoppedError as stopped:
        result["status"], result["why"] = stopped.args
        result["seconds_until_stopped"] = time.perf_counter() - start
        return False
    for clock in ("seconds", "cpu_seconds"):
        result[clock].append(found.pop(clock))
    peak = max(result.get("bytes_peak", 0), found.pop("bytes_peak"))
    result.update(found, bytes_peak=peak)
    return True


def _quality(workload: Workload, folder: pathlib.Path, picks: np.ndarray) -> dict:
    distinct = len(np.unique(picks))
    if workload.work == "ranked":
        return {"distinct": distinct}
    arrays = workloads.read(folder)
    spread = workloads.quality(workload.work, arrays, picks)
    return {"distinct": distinct, "spread": spread}
