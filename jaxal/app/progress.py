"""What a person sees while a run goes on, and how long they still have to wait."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from jaxal.runs import compiles
from jaxal.runs.store import Record

PATIENCE = 15.0  # seconds of silence, off a terminal, after which a line is due
_UNITS = {"train": "step", "score": "row"}


class Estimate:
    """The time a run still takes, from the first steps of training on.

    A training step costs the same in every round and their number grows with the
    labels; everything else costs the same in every round, but for compiling, which is
    over after the first.
    """

    def __init__(
        self,
        plan: list[int],
        *,
        clock: Callable[[], float] = time.monotonic,
        compiling: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Starts with nothing known.

        Args:
          plan: labels each round trains on.
          clock: seconds, from any start.
          compiling: seconds spent on it so far, from any start.
        """
        self._plan = plan
        self._clock = clock
        self._compiling = compiling
        self._index = 0
        self._total = self._done = 0
        self._first: tuple[float, int] | None = None
        self._step_seconds: float | None = None
        self._other_seconds: float | None = None
        self._trained_at = self._compiled = 0.0
        self._rounds_done = 0

    def training(self, index: int, done: int, total: int) -> None:
        """Notes that `done` of `total` steps of a round are behind us."""
        now = self._clock()
        self._rounds_done = index
        if index != self._index or self._first is None or done < self._done:
            self._first = (now, done)
        self._index, self._done, self._total = index, done, total
        self._trained_at, self._compiled = now, self._compiling()
        start, steps = self._first
        # One step says little, unless it is all there is to go by.
        if done > steps and (done > 1 or self._step_seconds is None):
            self._step_seconds = (now - start) / (done - steps)
        if steps == 0 and done > 0 and done < total:
            # The first piece may have compiled: measure from its end on.
            self._first = (now, done)

    def round_done(self, index: int) -> None:
        """Notes that a round is complete."""
        compiled = self._compiling() - self._compiled
        self._other_seconds = max(self._clock() - self._trained_at - compiled, 0.0)
        self._index, self._done = index, self._total
        self._rounds_done = index + 1

    def remaining(self) -> float | None:
        """Returns seconds to the end of this run, None while nothing is known."""
        if self._step_seconds is None:
            return None
        per_label = self._total / self._plan[self._index]
        later = per_label * sum(self._plan[self._index + 1 :])
        steps = self._total - self._done + later
        left = len(self._plan) - self._rounds_done
        return steps * self._step_seconds + left * (self._other_seconds or 0.0)

    def whole(self) -> float | None:
        """Returns seconds a run like this one takes from begin to end."""
        if self._step_seconds is None:
            return None
        steps = self._total / self._plan[self._index] * sum(self._plan)
        return steps * self._step_seconds + len(self._plan) * (
            self._other_seconds or 0.0
        )


class Terminal:
    """Bars where there is a terminal to draw them on, else one line a round."""

    def __init__(
        self,
        plan: list[int],
        *,
        runs_after: int = 0,
        stream: TextIO | None = None,
        is_terminal: bool | None = None,
        patience: float = PATIENCE,
        heed: Callable[[], None] = lambda: None,
    ) -> None:
        """Shows one run.

        Args:
          plan: labels each round trains on.
          runs_after: runs of the same size that come after this one.
          stream: where to write, by default stderr.
          is_terminal: whether bars are welcome, by default what the stream says.
          patience: seconds of compiling without bars until a line says so, once.
          heed: called between the parts of a run, see `jaxal.app.interrupts`.
        """
        self._stream = sys.stderr if stream is None else stream
        self._has_bars = self._stream.isatty() if is_terminal is None else is_terminal
        self._plan = plan
        self._runs_after = runs_after
        self._estimate = Estimate(plan, compiling=compiles.seconds)
        self._patience = patience
        self._heed = heed
        self._timer: threading.Timer | None = None
        self._bar: Any = None

    def message(self, text: str) -> None:
        """Writes a line, above a bar that may be there."""
        self._close()
        print(text, file=self._stream, flush=True)

    def phase(self, name: str, index: int) -> Callable[[int, int], None]:
        """Begins a bar; what is returned moves it."""
        self._heed()
        self._close()
        # Before the first step there is compiling to wait for, so say what it is for.
        waiting = self._wait(name, index) if self._has_bars else None
        if name == "train" and not self._has_bars and self._timer is None:
            self._timer = threading.Timer(self._patience, self._explain, [name, index])
            self._timer.daemon = True
            self._timer.start()

        def progress(done: int, total: int) -> None:
            if name == "train":
                self._estimate.training(index, done, total)
            if done > 0:
                self._stop_waiting()
            if waiting is not None:
                waiting.close()
                self._draw(name, index, done, total)

        return progress

    def round(self, record: Record) -> None:
        """Writes the line of a round that is complete."""
        self._estimate.round_done(record["round"])
        self.message(round_line(record, len(self._plan) - 1, self.time_left()))

    def time_left(self) -> str:
        """Returns what to say about the time left, empty while nothing is known."""
        left, whole = self._estimate.remaining(), self._estimate.whole()
        if left is None or whole is None:
            return ""
        left += self._runs_after * whole
        return f"about {duration(left)} left" if left > 0 else ""

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _explain(self, name: str, index: int) -> None:
        with contextlib.suppress(OSError, ValueError):  # the stream may be closed
            print(
                f"compiling {self._description(name, index)}, once for all rounds ...",
                file=self._stream,
                flush=True,
            )

    def _wait(self, name: str, index: int) -> Any:
        from tqdm import tqdm

        self._bar = tqdm(
            desc=self._description(name, index),
            bar_format="{desc} ...",
            file=self._stream,
            leave=False,
        )
        return self._bar

    def _draw(self, name: str, index: int, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None or self._bar.disable:
            self._bar = tqdm(
                total=total,
                desc=self._description(name, index),
                unit=_UNITS.get(name, "it"),
                file=self._stream,
                leave=False,
                dynamic_ncols=True,
            )
        self._bar.set_postfix_str(self.time_left(), refresh=False)
        self._bar.update(done - self._bar.n)
        self._bar.refresh()

    def _description(self, name: str, index: int) -> str:
        return f"round {index}/{len(self._plan) - 1} {name}"

    def _close(self) -> None:
        self._stop_waiting()
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def round_line(record: Record, last: int, time_left: str = "") -> str:
    """Returns one line on a round.

    Example:
      >>> from jaxal.app.progress import round_line
      >>> round_line({"round": 1, "labels": 40, "accuracy": 0.5, "nll": 1.25,
      ...     "seconds": {"train": 2.0, "score": 0.5}, "compiles": 0}, 8)
      'round 1/8     40 labels  accuracy 50.0 %  nll 1.25  train 2.0 s  score 0.5 s'
    """
    held_out = record.get("validation")
    nll = record["nll"]  # None where a probability of zero made it infinite
    parts = [
        f"round {record['round']}/{last}",
        f"{record['labels']:5d} labels",
        f"accuracy {100 * record['accuracy']:.1f} %",
        f"nll {'inf' if nll is None else f'{nll:.2f}'}",
        *([f"validation {100 * held_out['accuracy']:.1f} %"] if held_out else []),
        *(f"{name} {seconds:.1f} s" for name, seconds in record["seconds"].items()),
    ]
    return "  ".join(parts + ([time_left] if time_left else []))


def duration(seconds: float) -> str:
    """Returns a time as a person says it.

    Example:
      >>> from jaxal.app.progress import duration
      >>> duration(42), duration(500), duration(10_000)
      ('42 s', '8 min', '2 h 47 min')
    """
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
