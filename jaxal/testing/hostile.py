"""Pools made to break strategies: of one shape, each odd in one way."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxal.testing.pools import (
    BATCH_SIZE,
    NUM_CLASSES,
    NUM_ROWS,
    NUM_SAMPLES,
    HostilePool,
    ordinary,
)

NUM_COPIES = 8  # of each row, in a pool of duplicates


class Case(NamedTuple):
    """A pool, and the law that is about it, if there is one."""

    make: Callable[[int], HostilePool]  # from a seed
    law: str | None = None  # what any broken law counts as here


def padded(seed: int) -> HostilePool:
    """Returns a pool that ends in rows neither available nor labelled, all zero."""
    return _masked(seed, "padding", np.arange(NUM_ROWS) >= NUM_ROWS - 6)


def withdrawn(seed: int) -> HostilePool:
    """Returns a pool in which rows all over, the first too, are out of play."""
    return _masked(seed, "withdrawn rows", np.arange(NUM_ROWS) % 7 == 0)


def all_equal(seed: int) -> HostilePool:
    """Returns a pool of copies of one row."""
    pool = ordinary(seed)
    same = pool.take(np.full(NUM_ROWS, 1))
    return same.masks_of(pool)._replace(name="equal rows", classes=pool.classes)


def duplicated(seed: int) -> HostilePool:
    """Returns a pool of some copies of each row, sorted by class."""
    pool = ordinary(seed)
    rows = np.argsort(pool.classes[: NUM_ROWS // NUM_COPIES], kind="stable")
    twins = pool.take(np.repeat(rows, NUM_COPIES))
    return twins.masks_of(pool)._replace(name="duplicated rows")


def _masked(seed: int, name: str, is_masked: np.ndarray) -> HostilePool:
    pool = ordinary(seed)
    rows = pool.changed(name, lambda x: np.where(is_masked[:, None], 0, x))
    return rows._replace(
        is_available=pool.is_available & ~is_masked,
        is_labelled=pool.is_labelled & ~is_masked,
    )


def _one_hot(seed: int) -> HostilePool:
    pool, rng = ordinary(seed), np.random.default_rng(seed)
    winners = rng.integers(NUM_CLASSES, size=(NUM_SAMPLES, NUM_ROWS))
    winners[:, ::2] = winners[0, ::2]  # on every other row all samples agree
    samples = np.where(np.arange(NUM_CLASSES) == winners[..., None], 0, -np.inf)
    samples = samples.astype(np.float32)
    return pool._replace(name="one-hot predictions", logits=samples[0], samples=samples)


def _zero_features(seed: int) -> HostilePool:
    fields = ("features", "inputs")
    return ordinary(seed).changed("zero features", np.zeros_like, fields)


def _one_class(seed: int) -> HostilePool:
    pool = ordinary(seed)
    return pool._replace(name="one class", classes=np.zeros_like(pool.classes))


def _unseen_class(seed: int) -> HostilePool:
    pool = ordinary(seed)

    def deny(logits: np.ndarray) -> np.ndarray:
        return np.where(np.arange(NUM_CLASSES) == 1, np.float32(-30), logits)

    denied = pool.changed("a class unseen", deny, ("logits", "samples"))
    return denied._replace(classes=np.where(pool.classes == 1, 0, pool.classes))


def _labelled(name: str, rows: slice) -> Callable[[int], HostilePool]:
    is_labelled = np.zeros(NUM_ROWS, bool)
    is_labelled[rows] = True

    def make(seed: int) -> HostilePool:
        masks = {"is_available": ~is_labelled, "is_labelled": is_labelled}
        return ordinary(seed)._replace(name=name, **masks)

    return make


_LAST = 2 * BATCH_SIZE + 2  # rows for two rounds, and two for the third

CASES = (
    Case(ordinary),
    Case(_one_hot),
    Case(duplicated),
    Case(all_equal),
    Case(_zero_features),
    Case(_labelled("nothing labelled", slice(0))),
    Case(_labelled("three rows left", slice(3, None))),
    Case(_labelled("one row left", slice(1, None))),
    Case(_labelled("everything labelled", slice(None))),
    Case(padded),
    Case(withdrawn),
    Case(_labelled("twelve rows left", slice(_LAST, None)), "short batch"),
    Case(_one_class, "empty classes"),
    Case(_unseen_class, "empty classes"),
)
"""Pools of one shape: a program compiled for one serves all."""
