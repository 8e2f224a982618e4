"""Workers that take the blocks of a study, each what nobody has."""

import math
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import jax

from jaxal.runs.errors import RunError, StoppedError
from jaxal.studies.blocks import BusyError, run_block
from jaxal.studies.programs import Shelf
from jaxal.studies.shown import StudyLine
from jaxal.studies.stepping import Block, Engine
from jaxal.types import Pool

_GRACE = 1.0  # seconds for rounds under way after Ctrl-C
_PATIENCE = 1.0  # seconds until one looks again whether another process is done


def work(
    blocks: Sequence[Block],
    pool: Pool,
    line: StudyLine,
    *,
    workers: int,
    save_every: float,
) -> None:
    """Runs blocks until all are finished, by this process or by others.

    Args:
      blocks: in the order to begin them in.
      pool: whose inputs trials share.
      line: is told.
      workers: threads, which share compiled programs and the devices.
      save_every: seconds.

    Raises:
      RunError: blocks failed; all others are done.
      StoppedError: Ctrl-C; rounds under way were saved, or are computed again where
        that would have taken long.
    """
    crew = _Crew(list(blocks))
    shelf, devices = Shelf(), jax.local_devices()
    engines = [
        Engine(
            shelf,
            device,
            jax.device_put(pool.inputs, device),
            save_every,
            shlex.join(sys.argv),
            crew.stopped.is_set,
            line.told,
            line.message,
        )
        for device in (devices * workers)[: max(1, min(workers, len(blocks)))]
    ]
    threads = ThreadPoolExecutor(len(engines))
    with crew.heeding_interrupts():
        try:
            done = [threads.submit(crew.take_all, engine, line) for engine in engines]
            _wait_for(done, crew.stopped)
        finally:
            threads.shutdown(wait=not crew.stopped.is_set())
    line.close()
    if crew.failures:
        raise RunError("\n".join(crew.failures))
    if crew.stopped.is_set():
        raise StoppedError


def _wait_for(done: Sequence[Future], stopped: threading.Event) -> None:
    """Until all are done, or a little after Ctrl-C: compiling cannot be called off."""
    left, deadline = set(done), math.inf
    while left and time.monotonic() < deadline:
        finished, left = wait(left, timeout=0.2)
        for one in finished:
            one.result()
        if stopped.is_set():
            deadline = min(deadline, time.monotonic() + _GRACE)


class _Crew:
    """Blocks that are left, and what has become of the others."""

    def __init__(self, blocks: list[Block]):
        self.stopped = threading.Event()
        self.failures: list[str] = []
        self._blocks = blocks
        self._lock = threading.Lock()
        self._busy: list[Block] = []

    def take_all(self, engine: Engine, line: StudyLine) -> None:
        """Runs blocks until there are none."""
        while not self.stopped.is_set():
            block = self._next()
            if block is None:
                return
            try:
                if run_block(block, engine):
                    line.over(block.key)
            except BusyError:
                self._put_back(block)
            except RunError as error:
                self.failures.append(str(error))
                line.message(f"error: {error}")
            except BaseException:
                self.stopped.set()  # the other workers need not go on
                raise

    def heeding_interrupts(self) -> Any:
        """Ctrl-C ends the rounds under way; once more ends the process."""
        return _Interrupts(self.stopped)

    def _next(self) -> Block | None:
        with self._lock:
            if not self._blocks and self._busy:
                self._blocks, self._busy = self._busy, []
                time.sleep(_PATIENCE)
            return self._blocks.pop(0) if self._blocks else None

    def _put_back(self, block: Block) -> None:
        with self._lock:
            if block not in self._busy:
                self._busy.append(block)


class _Interrupts:
    def __init__(self, stopped: threading.Event):
        self._stopped = stopped
        self._before: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *args: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: Any) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
        self._stopped.set()
