"""Fixed splits: which rows go where depends on their ids, not on a generator.

Rows are ordered by a hash of a salt and their id. So a split is the same with every
version of NumPy, smaller subsets are nested in larger ones, and adding a file to a
folder leaves the others where they were.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxal.data.types import Split

TEST_FRACTION = 0.2  # of each class, where a source has no test split of its own


def hashed_order(ids: np.ndarray, salt: str) -> np.ndarray:
    """Rows in an order that only the ids and the salt decide, `[N]`.

    Example:
      >>> ids = np.arange(5)
      >>> order = hashed_order(ids, "a")
      >>> sorted(order.tolist())
      [0, 1, 2, 3, 4]
      >>> ids[::-1][hashed_order(ids[::-1], "a")].tolist() == order.tolist()
      True
    """
    digests = b"".join(
        hashlib.blake2b(f"{salt}/{name}".encode(), digest_size=8).digest()
        for name in ids.tolist()
    )
    return np.argsort(np.frombuffer(digests, ">u8"), kind="stable")


def take(split: Split, rows: np.ndarray) -> Split:
    """The given rows in their original order; a copy, unless it is all of them."""
    rows = np.sort(rows)
    if len(rows) == len(split.labels):
        return split
    return Split(*(array[rows] for array in split))


def without(split: Split, rows: np.ndarray) -> Split:
    """All but the given rows, in their original order."""
    return take(split, np.setdiff1d(np.arange(len(split.labels)), rows))


def first_of_each_class(split: Split, counts: np.ndarray, salt: str) -> np.ndarray:
    """Rows of the first `counts[c]` examples of each class in hashed order."""
    order = hashed_order(split.ids, salt)
    labels = split.labels[order]
    rows = [order[labels == c][:count] for c, count in enumerate(counts)]
    return np.concatenate(rows)


def quotas(class_counts: np.ndarray, total: int) -> np.ndarray:
    """Shares `total` out in proportion to `class_counts`, by largest remainder.

    Args:
      class_counts: examples of each class, `[C]`.
      total: how many to share out.

    Returns:
      `[C]` integers that sum to `total`.

    Example:
      >>> quotas(np.array([50, 30, 20]), 5)
      array([3, 1, 1])
    """
    exact = class_counts * total / class_counts.sum()
    shares = np.floor(exact).astype(int)
    # Ties go to the first class: argsort of the negated remainders is stable.
    most_short = np.argsort(shares - exact, kind="stable")
    shares[most_short[: total - shares.sum()]] += 1
    return shares


def fixed_test(split: Split, num_classes: int) -> tuple[Split, Split]:
    """Splits off the same fifth of each class whatever the seed.

    A class keeps at least one example on each side, and a single example trains: with
    one example a class there would be nothing to measure on.

    Args:
      split: all rows of the source.
      num_classes: C.

    Returns:
      (train, test).

    Raises:
      ValueError: no class has two examples.
    """
    counts = np.bincount(split.labels, minlength=num_classes)
    if counts.max(initial=0) < 2:
        raise ValueError(
            f"{len(split.labels)} rows of {num_classes} classes, none of which has two "
            "examples: one to train on and one to test on. Add examples or a test "
            "split."
        )
    wanted = np.maximum(np.round(counts * TEST_FRACTION).astype(int), 1)
    rows = first_of_each_class(split, np.minimum(wanted, counts - 1).clip(0), "test")
    return without(split, rows), take(split, rows)


def split_validation(
    train: Split, num_validation: int, num_classes: int, seed: int
) -> tuple[Split, Split]:
    """Takes a validation split from the pool, stratified.

    Args:
      train: the pool side; the test split is never touched.
      num_validation: rows to take, `1 .. N-1`.
      num_classes: C.
      seed: another seed takes other rows.

    Returns:
      (train, validation).

    Raises:
      ValueError: nothing would be left to train on.
    """
    if not 0 < num_validation < len(train.labels):
        raise ValueError(
            f"num_validation is {num_validation}, expected 0 to "
            f"{len(train.labels) - 1}: the validation split is taken from the "
            f"{len(train.labels)} rows of the pool, and some must be left."
        )
    counts = quotas(np.bincount(train.labels, minlength=num_classes), num_validation)
    rows = first_of_each_class(train, counts, f"validation {seed}")
    return without(train, rows), take(train, rows)


def imbalance(
    train: Split,
    keep_ratios: Mapping[str, float] | Sequence[float],
    class_names: tuple[str, ...],
    seed: int,
) -> Split:
    """Keeps a share of each class, at least one example, nested in the ratio.

    Args:
      train: the pool side.
      keep_ratios: a ratio in (0, 1] for each class in order, or a mapping from class
        names to ratios, where classes not named are kept whole.
      class_names: names in the order of the labels.
      seed: another seed keeps other rows.

    Returns:
      The rows kept, in their original order.

    Raises:
      ValueError: an unknown class, a wrong number of ratios, or a ratio out of range.
    """
    ratios = _ratio_of_each_class(keep_ratios, class_names)
    counts = np.bincount(train.labels, minlength=len(class_names))
    kept = np.minimum(np.maximum(np.round(counts * ratios).astype(int), 1), counts)
    return take(train, first_of_each_class(train, kept, f"imbalance {seed}"))


def _ratio_of_each_class(
    keep_ratios: Mapping[str, float] | Sequence[float], class_names: tuple[str, ...]
) -> np.ndarray:
    if isinstance(keep_ratios, Mapping):
        unknown = sorted(set(map(str, keep_ratios)) - set(class_names))
        if unknown:
            raise ValueError(
                f"keep_ratios names {unknown}, which are no classes of this data "
                f"set; its classes are {list(class_names)}."
            )
        ratios = np.array([float(keep_ratios.get(c, 1.0)) for c in class_names])
    else:
        ratios = np.asarray(keep_ratios, float)
    if ratios.shape != (len(class_names),):
        raise ValueError(
            f"keep_ratios has {ratios.size} entries, expected {len(class_names)}: one "
            "for each class, or a mapping from class names to ratios."
        )
    if not np.all((ratios > 0) & (ratios <= 1)):
        raise ValueError(
            f"keep_ratios are {ratios.tolist()}, expected each in (0, 1]: every class "
            "of the test split must keep an example in the pool."
        )
    return ratios
