"""SelectAL: the test of the regime, and who chooses after it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import View, by_score, gumbel_top_k, strategy
from jaxal.strategies.select_al import find_regime, fit_logistic
from tests.cases_picks import MASKS, POOLS, masks
from tests.reference import combinators as reference
from tests.selection.test_laws import check_laws

KEY = jax.random.key(0)
NUM_ROWS = 60
regime_of = jax.jit(functools.partial(find_regime, num_classes=3))
SELECT = strategy("select_al")


def overlapping(seed, num_labelled):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, NUM_ROWS)
    centres = 1.5 * np.array([[1, 0], [-0.5, 1], [-0.5, -1]])
    x = (centres[truth] + rng.normal(size=(NUM_ROWS, 2))).astype(np.float32)
    is_labelled = rng.permutation(NUM_ROWS) < num_labelled
    return x, np.where(is_labelled, truth, -1), ~is_labelled


def test_regression_finds_the_minimum():
    x, labels, _ = overlapping(0, NUM_ROWS)
    x = x / np.sqrt((x**2).sum(axis=1).mean())
    is_train = np.arange(NUM_ROWS) % 4 != 0
    found = fit_logistic(jnp.asarray(x), labels, jnp.asarray(is_train)[None], 3)
    expected = reference.logistic_logits(x, labels, is_train, 3)
    np.testing.assert_allclose(found[0], expected, atol=5e-3)


def test_errors_are_those_of_the_loops():
    seen = []
    for seed in range(8):
        x, labels, free = overlapping(seed, 45 if seed % 2 else 24)
        found = regime_of(KEY, x, labels, free)
        key_rows, _ = jax.random.split(KEY)
        drawn = gumbel_top_k(key_rows, jnp.zeros(60), labels >= 0, batch_size=60)
        rows = np.asarray(drawn.indices)[np.asarray(drawn.is_valid)]
        expected = reference.regime_errors(x[rows], x, labels[rows], 3, 0.3, 5)
        errors = [float(found.without_typical), float(found.without_uncertain)]
        np.testing.assert_allclose(errors, expected, atol=1e-6)
        seen.append(bool(found.is_low))
        assert seen[-1] == (errors[0] >= errors[1])
    assert len(set(seen)) == 2  # both regimes were met


def odd_corner(num_rows=60):
    """Class 0 has a corner that looks like class 1 unless its labels are seen."""
    rng = np.random.default_rng(1)
    kind = np.arange(num_rows) % 10
    centres = np.array([[-3.0, 0]] * 4 + [[0.8, 2.0]] + [[3.0, 0]] * 5)
    spread = np.array([0.3] * 4 + [0.1] + [0.3] * 5)
    x = centres[kind] + spread[kind][:, None] * rng.normal(size=(num_rows, 2))
    return x.astype(np.float32), (kind >= 5).astype(np.int32)


def view_of(x, labels):
    labels = jnp.asarray(labels)
    return View(labels < 0, labels >= 0, labels, jnp.zeros([len(x), 3]), None, x)


def test_the_one_that_is_needed_chooses():
    low = by_score(lambda z: -jnp.arange(60.0))
    high = by_score(lambda z: jnp.arange(60.0))
    chosen = strategy("select_al", low=low, high=high)
    x, truth = odd_corner()
    free = np.arange(60) % 3 == 2
    many = chosen.select(KEY, view_of(jnp.asarray(x), np.where(free, -1, truth)), 3)
    assert many.indices.tolist() == [59, 56, 53]  # losing the corner hurts
    few = np.where(np.arange(60) < 6, truth, -1)
    picks = chosen.select(KEY, view_of(jnp.asarray(x), few), 3)
    assert picks.indices.tolist() == [6, 7, 8]


@pytest.mark.parametrize("kind", MASKS)
def test_laws(kind):
    is_available, is_labelled = masks(kind)
    labels = jnp.where(is_labelled, jnp.arange(40) % 3, -1)
    for x in POOLS.values():
        if x.dtype == np.float32:
            x = jnp.asarray(x)
            view = View(
                jnp.asarray(is_available), jnp.asarray(is_labelled), labels, x, None, x
            )
            check_laws(SELECT.select(KEY, view, 9), is_available)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="fraction 1.5"):
        strategy("select_al", fraction=1.5)
