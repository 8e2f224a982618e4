"""Timing on a device that runs behind the host's back, for any library."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from harness import peak_bytes, timed_call, timing

from accelerator.plan import Context, Row
from accelerator.profiling import kernels

SHORT = 0.02  # seconds below which starting a call is a part worth telling apart
QUEUED = 20  # calls started one behind the other
PATIENCE = 8.0  # seconds after which a row gets no further call
COMPILING = "/jax/core/compile/backend_compile_duration"


class Program(NamedTuple):
    """A function compiled for arguments of one shape."""

    call: Callable[..., Any]  # does not wait for the result
    compile_seconds: float
    peak_bytes: int | None

    def facts(self, context: Context | None = None, *args: Any) -> Row:
        """Returns what a row says of it: its kernels too, where they are asked for."""
        peak = self.peak_bytes
        said: Row = {
            "compile_s": self.compile_seconds,
            "peak_mb": None if peak is None else peak / 1e6,
        }
        is_asked = context is not None and context.profile
        return said | (kernels(self.call, *args) if is_asked else {})


def compiled(function: Callable[..., Any], *args: Any) -> Program:
    """Compiles `function` for arguments like these, and notes what that took."""
    lowered, lowering = timed_call(jax.jit(function).lower, *args)
    program, compiling = timed_call(lowered.compile)
    return Program(program, lowering + compiling, peak_bytes(program))


def timed_calls(
    call: Callable[..., Any],
    inputs: Sequence[tuple],
    *,
    repeats: int,
    wait: Callable[[Any], Any] = jax.block_until_ready,
    check: Callable[[Any], None] = lambda result: None,
) -> Row:
    """Times calls after one that warms up, each to the end, and then in a queue.

    Args:
      call: starts the work; it need not wait for it.
      inputs: arguments of successive calls, in turn: several, where one would stay in
        the device's cache.
      repeats: calls that count.
      wait: returns when a result is ready.
      check: raises unless a result, the first, is what it should be.

    Returns:
      `seconds` (the median), quartiles, `calls`; and `queued_s`, seconds a call where
      many short ones are started one behind the other, so that the device never waits
      for the host.
    """
    start = time.perf_counter()
    first = call(*inputs[0])
    wait(first)
    check(first)
    del first
    seconds: list[float] = []
    while len(seconds) < repeats:
        if seconds and time.perf_counter() - start > PATIENCE:
            break
        args = inputs[(len(seconds) + 1) % len(inputs)]
        seconds.append(timed_call(lambda args=args: wait(call(*args)))[1])
    found = timing(seconds)
    row = {"seconds": found.median, "low": found.low, "high": found.high}
    row["calls"] = found.repeats
    if found.median < SHORT:
        row["queued_s"] = _queued(call, inputs, wait)
    return row


def _queued(call: Callable, inputs: Sequence[tuple], wait: Callable) -> float:
    def several() -> None:
        results = [call(*inputs[i % len(inputs)]) for i in range(QUEUED)]
        wait(results)

    several()  # room for so many results may have to be made first
    return timed_call(several)[1] / QUEUED


def best(row: Row) -> float:
    """Returns seconds of the device, without the host's where they were told apart."""
    return min(row.get("queued_s", math.inf), row["seconds"])


def in_one_call(function: Callable[..., Any], *args: Any) -> tuple[Any, Row]:
    """Returns a result and what it took, for work too long to be done twice.

    What XLA compiled meanwhile is told apart.
    """
    before = sum(_compiling)
    result, seconds = timed_call(lambda: jax.block_until_ready(function(*args)))
    compiling = sum(_compiling) - before
    return result, {
        "seconds": seconds - compiling,
        "compile_s": compiling,
        "calls": 1,
    }


_compiling: list[float] = []


def _listen(event: str, seconds: float, **_: Any) -> None:
    if event == COMPILING:
        _compiling.append(seconds)


jax.monitoring.register_event_duration_secs_listener(_listen)
