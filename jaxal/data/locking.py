"""One process at a time, and the lock dies with the process that held it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: atomic renames alone keep things whole there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def exclusive(path: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock file `path`, waiting for whoever has it.

    Args:
      path: the lock file, made where absent; its folder too.
      what: what is being done, said once on stderr when there is a wait.
      wait: False to give up at once.

    Raises:
      BlockingIOError: another process has it, and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:  # which leaves its time of change alone
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                print(f"jaxal: waiting for another process: {what}", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
