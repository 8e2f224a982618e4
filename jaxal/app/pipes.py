"""Output whose reader has gone, as that of `jaxal COMMAND | head`."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

CLOSED = 141  # what shells expect of a program that a closed pipe ended


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ends the program without a word, status 141, where nobody reads its output.

    An OSError would do for a program that catches none; commands do, to name files.
    """
    output = sys.stdout
    with contextlib.redirect_stdout(_Output(output)):
        try:
            yield
        finally:
            sys.stdout.flush()


class _Output(io.TextIOBase):
    """Passes everything on."""

    def __init__(self, to: Any):
        self._to = to

    def __getattr__(self, name: str) -> Any:
        return getattr(self._to, name)

    def write(self, text: str) -> int:
        with self._ending():
            return self._to.write(text)

    def flush(self) -> None:
        with self._ending():
            self._to.flush()

    def close(self) -> None:
        """Leaves it open, who passes things on does not own it."""

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            # What is left in its buffer goes nowhere, instead of failing at the exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._to.fileno())
            os.close(nowhere)
            raise SystemExit(CLOSED) from None
