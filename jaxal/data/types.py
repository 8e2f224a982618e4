"""What a data set is, and the one error that means it cannot be had here."""

import hashlib
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Rows in a fixed order; `ids` name them whatever else is taken away."""

    inputs: np.ndarray  # [N, H, W, C] uint8 (memory map), or [N, ...] float32
    labels: np.ndarray  # [N] int32 in 0 .. C-1
    ids: np.ndarray  # [N] str or int64, the row's name in its source


class Dataset(NamedTuple):
    """A pool to label from, a fixed test split, and where both came from."""

    name: str  # what it is, after "auto" was resolved
    train: Split
    test: Split
    validation: Split | None
    class_names: tuple[str, ...]
    fingerprint: str  # hexadecimal, of every array and of how they were split
    source: str  # one line for people


class Content(NamedTuple):
    """What a source holds, before jaxal splits it."""

    train: Split
    test: Split | None  # None: the source has one split only
    class_names: tuple[str, ...]
    source: str


class UnavailableError(RuntimeError):
    """The data set exists but cannot be had: not prepared, no network, damaged."""


def fingerprint(class_names: tuple[str, ...], *splits: Split | None) -> str:
    """SHA-256 of class names and of every array's type, shape and bytes.

    Args:
      class_names: names in the order of the labels.
      *splits: the splits, in a fixed order; None counts as absent.

    Returns:
      64 hexadecimal digits.

    Example:
      >>> rows = Split(np.zeros((2, 3), np.float32), np.arange(2), np.arange(2))
      >>> fingerprint(("a", "b"), rows) == fingerprint(("a", "c"), rows)
      False
    """
    digest = hashlib.sha256(repr(class_names).encode())
    for split in splits:
        for array in split or ():
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        digest.update(b"end of split")
    return digest.hexdigest()
