"""Diverse mini-batches cluster what is in doubt, as the paper's loop does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import View, margin, strategy

KEY = jax.random.key(0)
# Doubtful rows in three heaps far apart, and certain rows elsewhere.
HEAPS = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])


def a_view(seed=0, num_certain=40):
    rng = np.random.default_rng(seed)
    doubtful = np.repeat(HEAPS, 4, axis=0) + rng.normal(size=(12, 2))
    certain = rng.normal(size=(num_certain, 2)) + 50
    x = np.concatenate([doubtful, certain])
    gap = np.concatenate([rng.uniform(0.1, 1.0, 12), np.full(num_certain, 9.0)])
    logits = np.stack([gap, np.zeros_like(gap)], axis=1)
    order = rng.permutation(len(x))
    nobody = jnp.zeros(len(x), bool)
    logits, x = (jnp.asarray(part[order], jnp.float32) for part in (logits, x))
    return View(~nobody, nobody, logits=logits, features=x)


@pytest.mark.parametrize("seed", range(3))
def test_one_row_of_each_doubtful_heap_the_nearest_to_its_weighted_mean(seed):
    view = a_view(seed)
    picks = strategy("dbal", factor=4).select(KEY, view, 3)
    x, weights = np.asarray(view.features, float), np.asarray(margin(view.logits))
    expected = set()
    for heap in HEAPS:
        (rows,) = np.nonzero(np.linalg.norm(x - heap, axis=1) < 10)
        mean = np.average(x[rows], axis=0, weights=weights[rows])
        expected.add(int(rows[np.argmin(np.linalg.norm(x[rows] - mean, axis=1))]))
    assert set(picks.indices.tolist()) == expected


def test_nothing_outside_the_shortlist_is_bought():
    view = a_view()
    picks = strategy("dbal", factor=1).select(KEY, view, 12)
    doubtful = np.flatnonzero(np.asarray(margin(view.logits)) > 0.5)
    assert sorted(picks.indices.tolist()) == doubtful.tolist()
