"""Pools in the plane on which one sees what should be picked.

All have the shapes of the laws' pools, so that programs compiled there serve here: the
plane is the first two of eight dimensions.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxal.testing.pools import (
    BATCH_SIZE,
    NUM_CLASSES,
    NUM_DIMS,
    NUM_ROWS,
    NUM_SAMPLES,
)
from jaxal.types import Strategy, View

CORNERS = 10 * np.array(
    [[np.cos(angle), np.sin(angle)] for angle in 2 * np.pi * np.arange(5) / 5]
)


class EyePool(NamedTuple):
    """A pool, and in which group each row is seen to be."""

    x: np.ndarray  # [N, 2]
    group: np.ndarray  # [N] what one sees, named by the pool
    logits: np.ndarray  # [N, C]
    samples: np.ndarray  # [S, N, C]
    labels: np.ndarray  # [N], -1 where nobody has answered


def around(centres: list, sizes: list[int], spread: float, seed: int = 0):
    """Rows around centres, and the number of each row's centre, in random order."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    x = np.asarray(centres, float)[group]
    return x + spread * rng.normal(size=x.shape), group


def left_or_right(x: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """Logits of a model that divides the plane at x = shift; class 2 is unlikely."""
    side = 2 * (x[:, 0] - shift)
    return np.stack([-side, side, np.full(len(x), -8.0)], axis=-1)


def undecided(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and samples of a model that knows nothing yet."""
    noise = np.random.default_rng(1).normal(size=(NUM_SAMPLES, len(x), NUM_CLASSES))
    return np.zeros((len(x), NUM_CLASSES)), 0.01 * noise


def divided(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and samples of a model that knows left from right, nearly."""
    shifts = np.linspace(-0.3, 0.3, NUM_SAMPLES)
    return left_or_right(x), np.stack([left_or_right(x, s) for s in shifts])


def some_of(group: np.ndarray, answers: dict[int, int], each: int) -> np.ndarray:
    """Labels for the first rows of some groups: `answers` maps group to class."""
    labels = np.full(len(group), -1)
    for number, label in answers.items():
        labels[np.flatnonzero(group == number)[:each]] = label
    return labels


def boundary() -> EyePool:
    """Two clusters, labelled in part (groups 0, 1), and a strip midway (group 2)."""
    x, group = around([[-3, 0], [3, 0], [0, 0]], [15, 15, 10], 0.3)
    strip = np.flatnonzero(group == 2)
    x[strip, 0] = np.linspace(-0.08, 0.08, 10)
    x[strip, 1] = np.random.default_rng(2).permutation(np.linspace(-2, 2, 10))
    return EyePool(x, group, *divided(x), some_of(group, {0: 0, 1: 1}, 3))


def rare_class() -> EyePool:
    """Two labelled clusters, and beyond the right one three rows of a third class.

    The model, which has never seen it, is certain that they belong to the right.
    """
    x, group = around([[-2, 0], [2, 0], [9, 1]], [20, 17, 3], 0.5)
    return EyePool(x, group, *divided(x), some_of(group, {0: 0, 1: 1}, 3))


def five_clusters() -> EyePool:
    """Five clusters far from each other, one of them large; no labels yet."""
    x, group = around(CORNERS, [16, 6, 6, 6, 6], 0.3)
    return EyePool(x, group, *undecided(x), np.full(NUM_ROWS, -1))


def outlier() -> EyePool:
    """Five clusters and, far away, a row by itself (group 5); no labels yet."""
    x, group = around([*CORNERS, [60, 60]], [8, 8, 8, 8, 7, 1], 0.3)
    return EyePool(x, group, *undecided(x), np.full(NUM_ROWS, -1))


def view_of(pool: EyePool, strategy: Strategy) -> View:
    """Returns what the strategy named, and nothing else."""
    plane = np.pad(pool.x, ((0, 0), (0, NUM_DIMS - 2)))
    arrays = {
        "logits": pool.logits,
        "samples": pool.samples,
        "features": plane,
        "inputs": plane,
    }
    names = strategy.needs | strategy.streams
    found = {n: jnp.asarray(v, jnp.float32) for n, v in arrays.items() if n in names}
    if "labels" in names:
        found["labels"] = jnp.asarray(pool.labels, jnp.int32)
    is_labelled = jnp.asarray(pool.labels >= 0)
    return View(~is_labelled, is_labelled, **found)


def picked_groups(pool: EyePool, strategy: Strategy, key) -> np.ndarray:
    """Returns the groups of the rows that a strategy picks."""
    selection = strategy.select(key, view_of(pool, strategy), BATCH_SIZE)
    return pool.group[np.asarray(selection.indices)]
