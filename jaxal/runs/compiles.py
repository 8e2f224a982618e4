"""Compiled programs: counted, to show that a round compiled none, and kept."""

import contextlib
import functools
import hashlib
import os
import platform
import time
from pathlib import Path

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"
_PARTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    _EVENT,
)
_count = 0
_spans: list[tuple[float, float]] = []  # begin and end, in order, apart


def count() -> int:
    """Returns the number of compilations of this process since the first call.

    Example:
      >>> import jax
      >>> from jaxal.runs import compiles
      >>> before = compiles.count()
      >>> jax.jit(lambda x: x * 3 + 1)(2.0)
      Array(7., dtype=float32, weak_type=True)
      >>> compiles.count() > before
      True
    """
    _listen()
    return _count


def seconds() -> float:
    """Returns how long this process has traced and compiled since the first call.

    Example:
      >>> import jax
      >>> from jaxal.runs import compiles
      >>> before = compiles.seconds()
      >>> jax.jit(lambda x: x * 3 + 2)(2.0)
      Array(8., dtype=float32, weak_type=True)
      >>> compiles.seconds() > before
      True
    """
    _listen()
    return sum(end - begin for begin, end in _spans)


def remember() -> None:
    """Keeps compiled programs on disk, unless JAX has been told where or not to.

    Half a minute of compiling on a laptop is then paid once, not by every strategy and
    every continued run.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    # Programs for one processor may not run on another that shares the home folder.
    processor = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        processor += Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    lines = [line for line in processor.splitlines() if "MHz" not in line]
    kind = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(home).expanduser() / "jaxal" / f"compiled-{kind}"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@functools.cache
def _listen() -> None:
    jax.monitoring.register_event_duration_secs_listener(_on_event)


def _on_event(event: str, duration_secs: float, **details: str | int) -> None:
    del details
    global _count
    _count += event == _EVENT
    if event in _PARTS:
        end = time.monotonic()
        _note(end - duration_secs, end)


def _note(begin: float, end: float) -> None:
    """Tracing one program traces others within it: such seconds count once."""
    while _spans and _spans[-1][1] > begin:
        begin = min(begin, _spans.pop()[0])
    _spans.append((begin, end))
