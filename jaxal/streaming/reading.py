"""Reading a source: chunks of one shape, one ahead, passes counted and reported."""

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from jaxal.modes import held
from jaxal.pools.inputs import check_numbers
from jaxal.streaming.sources import Source

_CHUNK_BYTES = 16 << 20
_CHUNK_ROWS = 1 << 18
_ROW_MULTIPLE = 1024

Progress = Callable[[int, int, int | None], None]
"""Told `(pass_index, done_rows, total_rows)`; the total is None while nobody knows."""

_T = TypeVar("_T")


class Chunk(NamedTuple):
    """Some rows of a pool, with zeros after the last one: shapes never change."""

    rows: Any  # pytree of [B, ...]
    first: int  # number in the pool of the first row
    size: int  # rows that are there

    @property
    def present(self) -> Any:
        """The rows that are there, `[size, ...]`."""
        return jax.tree.map(lambda leaf: leaf[: self.size], self.rows)


class Reader:
    """Reads a source any number of times, and counts.

    Args:
      source: what is read.
      chunk_size: rows `B` of a chunk; by default what fits 16 MiB.
      progress: told how far each pass is, None for nobody.
    """

    def __init__(
        self, source: Source, chunk_size: int | None, progress: Progress | None
    ):
        if source.num_rows == 0:
            raise ValueError("The source has no rows. Pass a pool of at least one.")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size is {chunk_size}, expected at least one row.")
        self.source = source
        self.num_rows = source.num_rows
        self.chunk_size = chunk_size or _default_chunk(source)
        if self.num_rows is not None:
            self.chunk_size = min(self.chunk_size, self.num_rows)
        self.passes = 0
        self._progress = progress

    def read(self) -> Iterator[Chunk]:
        """Yields the chunks of one pass, in order."""
        index, first = self.passes, 0
        self.passes += 1
        self._report(index, first)
        for rows in prefetched(self.source.chunks(self.chunk_size)):
            size = len(jax.tree.leaves(rows)[0])
            jax.tree.map(partial(_check_held, is_first=first == 0), rows)
            whole = jax.tree.map(lambda leaf: padded(leaf, self.chunk_size), rows)
            yield Chunk(whole, first, size)
            first += size
            self._report(index, first)
        self._check_end(first)

    def take(self, rows: np.ndarray) -> Any:
        """Returns rows `[M]` by number, where need be by one more pass."""
        if self.source.is_random_access:
            return self.source.take(rows)
        order = np.argsort(rows, kind="stable")
        found = list(self._pick(rows[order]))
        back = np.argsort(order)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[back], *found)

    def _pick(self, rows: np.ndarray) -> Iterator[Any]:
        """Yields the contents of `rows`, sorted, as the chunks come by."""
        done = 0
        for chunk in self.read():
            stop = int(np.searchsorted(rows, chunk.first + chunk.size))
            local = rows[done:stop] - chunk.first
            yield jax.tree.map(lambda leaf, local=local: leaf[local], chunk.rows)
            done = stop
            if done == rows.size:
                return

    def _report(self, index: int, done: int) -> None:
        if self._progress is not None:
            self._progress(index, done, self.num_rows)

    def _check_end(self, num_rows: int) -> None:
        if num_rows == 0 and self.passes > 1:
            raise ValueError(
                f"The source gave no rows on pass {self.passes}, and {self.num_rows} "
                "before: its iterator is exhausted. Pass a function that makes a fresh "
                "iterator at every call."
            )
        if self.num_rows is not None and num_rows != self.num_rows:
            raise ValueError(
                f"The source gave {num_rows} rows on pass {self.passes}, expected "
                f"{self.num_rows}. It must give the same rows on every pass."
            )
        if num_rows == 0:
            raise ValueError("The source has no rows. Pass a pool of at least one.")
        self.num_rows = num_rows


def prefetched(items: Iterator[_T]) -> Iterator[_T]:
    """Yields `items`, each read by a thread while the one before is being used.

    What reading raises is raised here, in its turn.

    Args:
      items: any iterator.

    Yields:
      The same items.

    Example:
      >>> from jaxal.streaming.reading import prefetched
      >>> list(prefetched(iter("ab")))
      ['a', 'b']
    """
    with ThreadPoolExecutor(1, "jaxal-prefetch") as thread:
        coming = thread.submit(_read_one, items)
        while found := coming.result():
            coming = thread.submit(_read_one, items)
            yield found.pop()  # popped: nothing here keeps a chunk that is done with


def pass_bar(description: str = "pass") -> Progress:
    """Returns a progress callback that draws a bar for each pass with tqdm.

    It draws nothing where tqdm is not installed or stderr is no terminal.

    Args:
      description: what stands before the number of the pass.

    Returns:
      A function of `(pass_index, done_rows, total_rows)`.

    Example:
      >>> from jaxal.streaming import pass_bar
      >>> pass_bar()(0, 5, 10)
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return lambda index, done, total: None
    bars: dict[int, Any] = {}  # the one of the present pass

    def report(index: int, done: int, total: int | None) -> None:
        if index not in bars:
            for number in list(bars):
                bars.pop(number).close()
            bars[index] = tqdm(
                desc=f"{description} {index + 1}",
                total=total,
                unit="row",
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            )
        bars[index].update(done - bars[index].n)
        if done == total:
            bars[index].close()

    return report


def _read_one(items: Iterator[_T]) -> list[_T]:
    return list(itertools.islice(items, 1))


def _default_chunk(source: Source) -> int:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(source.row())]
    row_bytes = max(1, sum(leaf.nbytes for leaf in leaves))
    rows = min(_CHUNK_BYTES // row_bytes, _CHUNK_ROWS)
    # Whole multiples of what the distances are computed in, so that no work is padding.
    if rows >= _ROW_MULTIPLE:
        return rows - rows % _ROW_MULTIPLE
    return max(1, 1 << int(math.log2(max(rows, 1))))


def _check_held(leaf: Any, is_first: bool) -> None:
    """Of real numbers, later chunks may be too few rows to know a spread by."""
    name, array = "a chunk of the source", np.asarray(leaf)
    check_numbers(name, array)
    if is_first or array.dtype.kind in "iu":
        held(name, array, may_overflow=True)


def padded(leaf: np.ndarray, size: int) -> np.ndarray:
    """Returns an array with zeros after its rows, until there are `size`."""
    if len(leaf) == size:
        return leaf
    missing = np.zeros((size - len(leaf), *leaf.shape[1:]), leaf.dtype)
    return np.concatenate([leaf, missing])
