"""One line on how a whole study is doing, and how long it still takes."""

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import TextIO

PATIENCE = 10.0  # seconds between lines where there is no terminal
_SMOOTH = 0.2  # seconds between two drawings on one

Key = tuple[str, int]
"""A block: its cell, and the seed of its first trial."""


class StudyLine:
    """Counts rounds of trials and says how many there are left, in one line."""

    def __init__(
        self,
        totals: Mapping[Key, int],
        workers: int = 1,
        *,
        stream: TextIO | None = None,
        is_shown: bool = True,
    ) -> None:
        """Shows one study.

        Args:
          totals: rounds of trials that each block has to go, by its cell and a number.
          workers: blocks that run at the same time.
          stream: where to write, by default stderr.
          is_shown: False for messages alone.
        """
        self._is_shown = is_shown
        self._left = dict(totals)
        self._total = sum(totals.values())
        self._workers = workers
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._spent: dict[str, list[float]] = defaultdict(list)  # per round of a trial
        self._compiling = 0.0
        self._begun = self._shown = time.monotonic()
        self._lock = threading.Lock()

    def told(
        self, block: Key, count: int, seconds: Mapping[str, float], compiling: float
    ) -> None:
        """A block has done a round of `count` trials."""
        with self._lock:
            self._left[block] = max(self._left[block] - count, 0)
            self._spent[block[0]].append(sum(seconds.values()))
            self._compiling += compiling
            self._draw()

    def message(self, text: str) -> None:
        """Writes a line of its own."""
        with self._lock:
            end = "\r\033[K" if self._is_terminal else ""
            print(f"{end}{text}", file=self._stream, flush=True)

    def over(self, block: Key) -> None:
        """Nothing of a block is left: it ended early, or others have done the rest."""
        with self._lock:
            self._total -= self._left.pop(block, 0)

    def text(self) -> str:
        """Returns the line."""
        left = sum(self._left.values())
        parts = [f"{self._total - left} of {self._total} rounds"]
        if self._compiling >= 1:
            parts.append(f"compiling {self._compiling:.0f} s")
        known = {cell: sum(some) / len(some) for cell, some in self._spent.items()}
        if left and known:
            usual = sum(known.values()) / len(known)
            work = sum(n * known.get(key[0], usual) for key, n in self._left.items())
            parts.append(f"about {work / self._workers:.0f} s left")
        return ", ".join(parts)

    def close(self) -> None:
        """Says how long it took."""
        took = time.monotonic() - self._begun
        if not self._is_shown or not self._total:
            return
        self.message(
            f"{self._total - sum(self._left.values())} rounds in {took:.1f} s, of "
            f"which programs took {self._compiling:.1f} s to compile"
        )

    def _draw(self) -> None:
        now = time.monotonic()
        if not self._is_shown:
            return
        if now - self._shown < (_SMOOTH if self._is_terminal else PATIENCE):
            return
        self._shown = now
        begin, end = ("\r\033[K", "") if self._is_terminal else ("", "\n")
        print(f"{begin}{self.text()}", end=end, file=self._stream, flush=True)
