"""Driving compiled work from the host in pieces of about half a second."""

import time
from collections.abc import Callable

TARGET_SECONDS = 0.5


def paced(
    run: Callable[[int, int], None], total: int, progress: Callable[[int, int], None]
) -> None:
    """Calls `run(done, size)` until `total` is done, growing the pieces as they allow.

    Pieces are kept near half a second, so that a bar moves and Ctrl-C is heard, while
    the cost of a call stays small beside the work.

    Args:
      run: does `size` more units, given how many are done, and waits for them.
      total: units to do.
      progress: told `(done, total)` before the first piece and after each.

    Example:
      >>> from jaxal.pacing import paced
      >>> paced(lambda done, size: None, 3, lambda done, total: print(done, total))
      0 3
      1 3
      3 3
    """
    done, size = 0, 1
    progress(0, total)
    while done < total:
        size = min(size, total - done)
        start = time.perf_counter()
        run(done, size)
        seconds = time.perf_counter() - start
        done += size
        progress(done, total)
        # At most doubling: the first piece may include compiling.
        growth = TARGET_SECONDS / max(seconds, 1e-9)
        size = max(1, min(2 * size, int(size * growth)))
