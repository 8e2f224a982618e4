"""Pools made to break strategies: small, of few shapes, each odd in one way."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

NUM_ROWS, NUM_DIMS, NUM_CLASSES, NUM_SAMPLES = 40, 8, 3, 4
BATCH_SIZE = 5


class HostilePool(NamedTuple):
    """What a view is made of, whole; on the host."""

    name: str
    logits: np.ndarray  # [N, C]
    samples: np.ndarray  # [S, N, C]
    features: np.ndarray  # [N, D]
    inputs: np.ndarray  # [N, D]
    classes: np.ndarray  # [N] int32, the truth: a view tells it of labelled rows only
    is_available: np.ndarray  # [N] bool
    is_labelled: np.ndarray  # [N] bool

    @property
    def labels(self) -> np.ndarray:
        """Classes of labelled rows, `[N]` int32, -1 elsewhere."""
        return np.where(self.is_labelled, self.classes, -1).astype(np.int32)

    def take(self, rows: np.ndarray) -> "HostilePool":
        """Returns the pool of some of the rows, or of all in another order."""
        leaves = {
            name: getattr(self, name)[:, rows]
            if name == "samples"
            else getattr(self, name)[rows]
            for name in self._fields[1:]
        }
        return self._replace(**leaves)


def ordinary(
    seed: int, num_classes: int = NUM_CLASSES, dtype: Any = np.float32
) -> HostilePool:
    """Returns a pool without oddities, every fifth row of it labelled."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(NUM_ROWS, NUM_DIMS))
    logits = features @ rng.normal(size=(NUM_DIMS, num_classes))
    noise = rng.normal(size=(NUM_SAMPLES, NUM_ROWS, num_classes))
    is_labelled = np.arange(NUM_ROWS) % 5 == 0
    return HostilePool(
        name="ordinary",
        logits=logits.astype(np.float32),
        samples=(logits[None] + noise).astype(np.float32),
        features=features.astype(dtype),
        inputs=features.astype(np.float32),
        classes=rng.permutation(np.arange(NUM_ROWS) % num_classes).astype(np.int32),
        is_available=~is_labelled,
        is_labelled=is_labelled,
    )


def padded(seed: int) -> HostilePool:
    """Returns a pool that ends in rows neither available nor labelled, all zero."""
    is_valid = np.arange(NUM_ROWS) < NUM_ROWS - 6
    pool = ordinary(seed)
    hold = {
        name: np.where(is_valid[:, None], getattr(pool, name), 0)
        for name in ("logits", "samples", "features", "inputs")
    }
    masks = {
        "is_available": pool.is_available & is_valid,
        "is_labelled": pool.is_labelled & is_valid,
    }
    return pool._replace(name="padding", **hold, **masks)


def refilled(pool: HostilePool) -> HostilePool:
    """Returns the pool with other numbers in its padding rows."""
    is_padding = ~(pool.is_available | pool.is_labelled)
    rng = np.random.default_rng(0)
    hold = {}
    for name in ("logits", "samples", "features", "inputs"):
        values = getattr(pool, name)
        other = 3 * rng.normal(size=values.shape).astype(values.dtype)
        hold[name] = np.where(is_padding[:, None], other, values)
    return pool._replace(name="padding, refilled", **hold)


def _one_hot(seed: int) -> HostilePool:
    pool, rng = ordinary(seed), np.random.default_rng(seed)
    winners = rng.integers(NUM_CLASSES, size=(NUM_SAMPLES, NUM_ROWS))
    winners[:, ::2] = winners[0, ::2]  # on every other row all samples agree
    samples = np.where(np.arange(NUM_CLASSES) == winners[..., None], 0, -np.inf)
    samples = samples.astype(np.float32)
    return pool._replace(name="one-hot predictions", logits=samples[0], samples=samples)


def _all_equal(seed: int) -> HostilePool:
    pool = ordinary(seed)
    same = pool.take(np.full(NUM_ROWS, 1))
    return same._replace(
        name="equal rows",
        classes=pool.classes,
        is_available=pool.is_available,
        is_labelled=pool.is_labelled,
    )


def _duplicates(seed: int) -> HostilePool:
    pool = ordinary(seed)
    twins = pool.take(np.arange(NUM_ROWS) // 8)
    return twins._replace(
        name="duplicated rows",
        is_available=pool.is_available,
        is_labelled=pool.is_labelled,
    )


def _zero_features(seed: int) -> HostilePool:
    pool = ordinary(seed)
    nothing = np.zeros_like(pool.features)
    return pool._replace(name="zero features", features=nothing, inputs=nothing)


def _labelled(name: str, rows: slice) -> Callable[[int], HostilePool]:
    is_labelled = np.zeros(NUM_ROWS, bool)
    is_labelled[rows] = True

    def make(seed: int) -> HostilePool:
        masks = {"is_available": ~is_labelled, "is_labelled": is_labelled}
        return ordinary(seed)._replace(name=name, **masks)

    return make


POOLS: tuple[Callable[[int], HostilePool], ...] = (
    ordinary,
    _one_hot,
    _duplicates,
    _all_equal,
    _zero_features,
    _labelled("nothing labelled", slice(0)),
    _labelled("three rows left", slice(3, None)),
    _labelled("one row left", slice(1, None)),
    _labelled("everything labelled", slice(None)),
    padded,
)
"""Pools of one shape: a program compiled for one serves all."""


def wide(seed: int, num_classes: int) -> tuple[HostilePool, ...]:
    """Returns pools of many classes and float16 features, to be bought whole."""
    pool = ordinary(seed, num_classes, np.float16)
    name = f"{num_classes:,} classes, float16 features, all rows bought"
    return _with_and_without(pool, name)


def narrow(seed: int) -> tuple[HostilePool, ...]:
    """Returns pools of two classes and bfloat16 features, to buy one row from."""
    pool = ordinary(seed, 2, jnp.bfloat16)
    return _with_and_without(pool, "2 classes, bfloat16 features, one row bought")


def _with_and_without(pool: HostilePool, name: str) -> tuple[HostilePool, ...]:
    nobody = np.zeros(NUM_ROWS, bool)
    without = {"is_available": ~nobody, "is_labelled": nobody}
    return (
        pool._replace(name=name),
        pool._replace(name=f"{name}, nothing labelled", **without),
    )
