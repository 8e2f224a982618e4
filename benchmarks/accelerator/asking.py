"""Having parts measured: by a process that can be stopped, or in this one."""

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accelerator.serving import MARK, answers

Message = dict[str, Any]
GRACE = 4.0  # seconds a part has to end by itself
_ENVIRONMENT = {
    # PyTorch and the checks' own processes share the device.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_START = 120.0  # seconds for a process to find its device


class StoppedError(Exception):
    """The process that measured is gone. Holds a status and a reason."""


class Here:
    """Measures in this process, which nothing can stop amid a call."""

    def __init__(self, scale: str, images: str | None, profile: bool):
        self.given = (scale, images, profile)

    def machine(self) -> Message:
        from accelerator.machine import header

        return header()

    def ask(self, request: Mapping[str, Any]) -> Iterator[Message]:
        """Yields messages as `serving` makes them."""
        yield from answers(request, *self.given)

    def stop(self) -> None:
        """Does nothing: there is no other process."""


class Worker:
    """Measures in a process of its own, started anew after one that was lost."""

    def __init__(self, command: Sequence[str]):
        self.command = list(command)
        self.process: subprocess.Popen | None = None

    def machine(self) -> Message:
        """Returns the header of the process."""
        self._start(_START)
        return self.header

    def ask(self, request: Mapping[str, Any]) -> Iterator[Message]:
        """Yields messages, or raises StoppedError: it died, or took too long."""
        self._start(min(_START, request["seconds"]))
        end = time.monotonic() + request["seconds"] + GRACE
        with contextlib.suppress(BrokenPipeError):  # its death is noticed below
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        message: Message = {}
        while "end" not in message:
            message = self._next(end - time.monotonic())
            yield message

    def stop(self) -> None:
        """Kills the process and those it has started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            for thread in self.threads:  # at the ends of what they read
                thread.join(_START)
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                with contextlib.suppress(BrokenPipeError):  # what it never read
                    pipe.close()
            self.process = None

    def _start(self, seconds: float) -> None:
        if self.process is not None:
            return
        self.process = subprocess.Popen(
            self.command,
            env=_ENVIRONMENT | os.environ,
            process_group=0,  # so that it can be killed with all that it starts
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.errors: collections.deque[str] = collections.deque(maxlen=40)
        self.threads = [
            threading.Thread(target=target, args=[self.process], daemon=True)
            for target in (self._read, self._drain)
        ]
        for thread in self.threads:
            thread.start()
        self.header = self._next(seconds)["machine"]

    def _read(self, process: subprocess.Popen) -> None:
        lines = self.lines
        for line in process.stdout:
            if line.startswith(MARK):
                lines.put(line[len(MARK) :])
        lines.put("")

    def _drain(self, process: subprocess.Popen) -> None:
        errors = self.errors
        for line in process.stderr:
            errors.append(line)

    def _next(self, seconds: float) -> Message:
        try:
            line = self.lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            self.stop()
            raise StoppedError("stopped", "its time was up, amid a call") from None
        if not line:
            code = self.process.wait()
            self.stop()
            raise StoppedError("failed", f"exit status {code}: {''.join(self.errors)}")
        return json.loads(line)
