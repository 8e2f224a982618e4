"""Pieces of a pool: chunks of any size made into chunks of one, and copies of them."""

import math
import mmap
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxal.pools.inputs import check_like, num_rows


def rechunked(pieces: Iterable[Any], size: int) -> Iterator[Any]:
    """Yields chunks of `size` rows from chunks of any size; the last may be shorter.

    Raises:
      ValueError: a chunk is not as the first one.
    """
    waiting: list[Any] = []
    held, first = 0, None
    for piece in pieces:
        piece = jax.tree.map(np.asarray, piece)
        first = piece if first is None else first
        check_like(piece, first, "rows of a chunk", "a chunk", any_dtype=True)
        length, start = num_rows(piece), 0
        while length - start >= size - held:
            stop = start + size - held
            waiting.append(_cut(piece, start, stop))
            yield _joined(waiting)
            waiting, held, start = [], 0, stop
        if start < length:
            waiting.append(_cut(piece, start, length))
            held += length - start
    if waiting:
        yield _joined(waiting)


def _cut(piece: Any, start: int, stop: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[start:stop], piece)


def _joined(pieces: list[Any]) -> Any:
    if len(pieces) == 1:
        return pieces[0]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


def copied(array: Any) -> np.ndarray:
    """Returns a copy in pages of its own, given back to the system when it goes.

    What malloc hands out from a reading thread is kept for later, a chunk a pass.
    """
    shape, dtype = array.shape, np.dtype(array.dtype)
    pages = mmap.mmap(-1, max(1, math.prod(shape) * dtype.itemsize))
    copy: np.ndarray = np.ndarray(shape, dtype, buffer=pages)
    copy[...] = array
    return copy


def mapping_of(array: Any) -> mmap.mmap | None:
    """Returns the file mapping behind an array, where its pages may be given back."""
    while array is not None and not isinstance(array, mmap.mmap):
        # A copy-on-write mapping holds changes that exist nowhere else.
        if getattr(array, "mode", None) == "c":
            return None
        array = getattr(array, "base", None)
    return array if hasattr(mmap, "MADV_DONTNEED") else None
