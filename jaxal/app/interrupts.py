"""Ctrl-C is never lost."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

INTERRUPTED = 130  # what shells expect of a program that Ctrl-C ended

_pressed = threading.Event()


def _remember(number: int, frame: Any) -> None:
    _pressed.set()
    if hasattr(signal, "setitimer"):  # and raised again for as long as it is dropped
        signal.signal(signal.SIGALRM, _again)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
    raise KeyboardInterrupt


def _again(number: int, frame: Any) -> None:
    if signal.getsignal(signal.SIGINT) is _remember:  # not on its way out
        _remember(number, frame)


def _heed() -> None:
    if _pressed.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def heeded() -> Iterator[Callable[[], None]]:
    """A context in which Ctrl-C ends the run, even where Python drops the exception.

    An interrupt that arrives while a destructor or a callback of a library runs is
    printed, or not even that, and forgotten. So it is remembered here as well. Within
    such a context another one is the same.

    Yields:
      A function that raises KeyboardInterrupt if Ctrl-C was pressed; to be called
      between the parts of a run.
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before is not signal.default_int_handler:
        yield _heed if before is _remember else lambda: None  # somebody looks after it
        return
    _pressed.clear()
    alarm = signal.getsignal(signal.SIGALRM) if hasattr(signal, "SIGALRM") else None
    signal.signal(signal.SIGINT, _remember)
    try:
        yield _heed
    finally:
        signal.signal(signal.SIGINT, before)
        if alarm is not None and _pressed.is_set():
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)


def leave(status: int) -> int:
    """Returns the status of a command, or ends the process with it after Ctrl-C.

    What XLA computes or compiles cannot be called off: Python would wait for it, and
    may crash when it takes apart what is in use. What counts is on disk.
    """
    if status == INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)
    return status


def script(main: Callable[[Sequence[str]], int | None]) -> NoReturn:
    """Ends the process as a script that goes on with the same command when stopped.

    Args:
      main: from words to an exit status, or None for 0.
    """
    try:
        with heeded():
            status = main(sys.argv[1:]) or 0
    except KeyboardInterrupt:
        print("\nStopped; give the same command again to go on.", file=sys.stderr)
        status = INTERRUPTED
    sys.exit(leave(status))
