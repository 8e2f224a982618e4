"""Sources: pools that are read in chunks because they are larger than memory."""

import itertools
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from jaxal.pools.inputs import num_rows
from jaxal.streaming.pieces import copied, mapping_of, rechunked

_REREADABLE = (
    "Pass what can be read again: a memory map (np.load(path, mmap_mode='r')), a data "
    "source with __getitem__ and __len__, or a function that returns a fresh generator "
    "at every call, such as `lambda: chunks(path)`."
)

_ROWS_AT_ONCE = 16


@runtime_checkable
class Source(Protocol):
    """Rows that can be read in order, in chunks, and some of them by number."""

    num_rows: int | None  # None: nobody knows before the end of the first pass
    is_once: bool  # whether it can be read only once
    is_random_access: bool  # whether it has `take`; if not, rows cost a pass

    def row(self) -> Any:
        """Returns one row, without reading on: a pytree of arrays."""

    def chunks(self, size: int) -> Iterator[Any]:
        """Yields pytrees of `[size, ...]` NumPy arrays; the last may be shorter."""

    def take(self, rows: np.ndarray) -> Any:
        """Returns rows `[M]`, a pytree of `[M, ...]` NumPy arrays."""


class Rows:
    """An array or a memory map `[N, ...]`, never read whole."""

    is_once = False
    is_random_access = True

    def __init__(self, array: Any):
        self.array = array
        self.num_rows: int | None = int(array.shape[0])
        self._mapping = mapping_of(array)

    def row(self) -> Any:
        return self.take(np.zeros(1, np.int64))[0]

    def chunks(self, size: int) -> Iterator[Any]:
        for start in range(0, self.array.shape[0], size):
            yield self._released(copied(self.array[start : start + size]))

    def take(self, rows: np.ndarray) -> Any:
        if self._mapping is None:
            return np.asarray(self.array[rows])
        # One row may bring megabytes of its surroundings into the process.
        parts = np.split(rows, range(_ROWS_AT_ONCE, rows.size, _ROWS_AT_ONCE))
        return np.concatenate(
            [self._released(np.asarray(self.array[part])) for part in parts]
        )

    def _released(self, copied: np.ndarray) -> np.ndarray:
        # Pages that were read stay in the process until memory runs out; giving them
        # back keeps what a pass uses at one chunk. They are still cached by the system.
        if self._mapping is not None:
            self._mapping.madvise(mmap.MADV_DONTNEED)
        return copied


class Records:
    """A data source of single records, as array_record and tfds make.

    Args:
      data: has `__len__`, and `__getitems__` (of a list) or `__getitem__`.
      read: from a record to a pytree of arrays, by default the record itself.

    Example:
      >>> import numpy as np
      >>> from jaxal.streaming import Records
      >>> source = Records([{"x": 1, "id": "a"}, {"x": 2, "id": "b"}], lambda r: r["x"])
      >>> source.take(np.array([1, 0]))
      array([2, 1])
    """

    is_once = False
    is_random_access = True

    def __init__(self, data: Any, read: Callable[[Any], Any] | None = None):
        self.data = data
        self.num_rows: int | None = len(data)
        self._read = read

    def row(self) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], self.take(np.zeros(1, np.int64)))

    def chunks(self, size: int) -> Iterator[Any]:
        for start in range(0, len(self.data), size):
            yield self.take(np.arange(start, min(start + size, len(self.data))))

    def take(self, rows: np.ndarray) -> Any:
        numbers = [int(row) for row in rows]
        if hasattr(self.data, "__getitems__"):
            records = self.data.__getitems__(numbers)
        else:
            records = [self.data[number] for number in numbers]
        if self._read is not None:
            records = [self._read(record) for record in records]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *records)


class Stream:
    """Chunks of any length from an iterator that `restart` makes anew."""

    is_once = False
    is_random_access = False

    def __init__(self, restart: Callable[[], Iterable[Any]]):
        self.num_rows: int | None = None
        self._restart = restart
        self._last: Any = None

    def row(self) -> Any:
        return _first_row(self._pieces())

    def chunks(self, size: int) -> Iterator[Any]:
        return rechunked(self._pieces(), size)

    def take(self, rows: np.ndarray) -> Any:
        raise ValueError(f"An iterator has no rows by number. {_REREADABLE}")

    def _pieces(self) -> Iterator[Any]:
        pieces = self._restart()
        if isinstance(pieces, Iterator) and pieces is self._last:
            raise ValueError(
                "The source returned the same iterator a second time, and an iterator "
                f"can be read only once. {_REREADABLE}"
            )
        self._last = pieces
        return iter(pieces)


class Once:
    """Chunks from an iterator that cannot be restarted: good for one pass."""

    is_once = True
    is_random_access = False

    def __init__(self, pieces: Iterator[Any]):
        self.num_rows: int | None = None
        self._pieces = pieces
        self._is_read = False

    def row(self) -> Any:
        first = next(self._pieces, None)
        if first is None:
            raise ValueError(f"The source is an exhausted iterator. {_REREADABLE}")
        self._pieces = itertools.chain([first], self._pieces)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[0], first)

    def chunks(self, size: int) -> Iterator[Any]:
        if self._is_read:
            raise ValueError(
                f"The source is an iterator and has been read already. {_REREADABLE}"
            )
        self._is_read = True
        return rechunked(self._pieces, size)

    def take(self, rows: np.ndarray) -> Any:
        raise ValueError(f"An iterator has no rows by number. {_REREADABLE}")


class Joined:
    """Sources of the same rows side by side: a pytree with a source at each leaf."""

    def __init__(self, treedef: Any, parts: Sequence[Source]):
        self._treedef = treedef
        self._parts = parts
        self.is_once = any(part.is_once for part in parts)
        self.is_random_access = all(part.is_random_access for part in parts)
        known = {part.num_rows for part in parts if part.num_rows is not None}
        if len(known) > 1:
            raise ValueError(
                f"The sources have {sorted(known)} rows, expected as many each. Row n "
                "of one must belong to row n of the others; chunks in a list are "
                "passed as `lambda: iter(chunks)`."
            )
        self.num_rows: int | None = known.pop() if known else None

    def row(self) -> Any:
        return self._treedef.unflatten([part.row() for part in self._parts])

    def chunks(self, size: int) -> Iterator[Any]:
        first = 0
        chunks = (part.chunks(size) for part in self._parts)
        for together in itertools.zip_longest(*chunks):
            lengths = [0 if chunk is None else num_rows(chunk) for chunk in together]
            if len(set(lengths)) > 1:
                ends = sorted({first + length for length in lengths})
                raise ValueError(
                    f"The sources end at different rows, {ends}. Row n of one must "
                    "belong to row n of the others."
                )
            first += lengths[0]
            yield self._treedef.unflatten(together)

    def take(self, rows: np.ndarray) -> Any:
        return self._treedef.unflatten([part.take(rows) for part in self._parts])


def as_source(data: Any) -> Source:
    """Returns what `data` is to the streaming functions.

    Args:
      data: an array or memory map `[N, ...]`; a data source with `__len__` and
        `__getitem__`; a function that returns a fresh iterator of chunks, or an
        iterable that makes one; an iterator of chunks, for one pass; or a pytree of
        these, such as `Outer(a, h)` of two memory maps. A chunk is a pytree of
        `[B, ...]` arrays, with `B` as it comes.

    Returns:
      A `Source`.

    Raises:
      TypeError: `data` is none of these.
      ValueError: the parts of a pytree have different numbers of rows.

    Example:
      >>> import numpy as np
      >>> from jaxal.streaming import as_source
      >>> [chunk.shape for chunk in as_source(np.ones([5, 2])).chunks(3)]
      [(3, 2), (2, 2)]
    """
    if isinstance(data, Source):
        return data
    leaves, treedef = jax.tree.flatten(data, is_leaf=_is_one)
    if not jax.tree_util.treedef_is_leaf(treedef):
        return Joined(treedef, [as_source(leaf) for leaf in leaves])
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        return Rows(data)
    if callable(data):
        return Stream(data)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return Records(data)
    if isinstance(data, Iterator):
        return Once(data)
    if isinstance(data, Iterable):
        return Stream(lambda: iter(data))
    raise TypeError(f"The source is {type(data).__name__}. {_REREADABLE}")


def _is_one(data: Any) -> bool:
    """Returns whether something is a source by itself, not a pytree of sources."""
    is_container = isinstance(data, (Mapping, list, tuple))
    is_read = hasattr(data, "shape") or callable(data) or isinstance(data, Iterable)
    return isinstance(data, Source) or (is_read and not is_container)


def check_rereadable(source: Source) -> None:
    """Raises TypeError where a source can be read only once."""
    if source.is_once:
        raise TypeError(
            "The source is an iterator, which can be read once; this selection reads "
            f"the pool several times. {_REREADABLE}"
        )


def _first_row(pieces: Iterator[Any]) -> Any:
    for piece in pieces:
        if num_rows(piece):
            return jax.tree.map(lambda leaf: np.asarray(leaf)[0], piece)
    raise ValueError(f"The source has no rows. {_REREADABLE}")
