"""Ctrl-C is never lost."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def heeded() -> Iterator[Callable[[], None]]:
    """A context in which Ctrl-C ends the run, even where Python drops the exception.

    An interrupt that arrives while a destructor or a callback of a library runs is
    printed, or not even that, and forgotten. So it is remembered here as well.

    Yields:
      A function that raises KeyboardInterrupt if Ctrl-C was pressed; to be called
      between the parts of a run.
    """
    pressed = threading.Event()

    def remember(number: int, frame: Any) -> None:
        pressed.set()
        raise KeyboardInterrupt

    def heed() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield heed  # somebody else looks after it
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield heed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
