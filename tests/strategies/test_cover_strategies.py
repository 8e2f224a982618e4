"""Coverage strategies by name, on pools that break strategies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import View, strategy
from tests.cases_picks import MASKS, NUM_ROWS, POOLS, masks

BATCH_SIZE, CLASSES = 9, 4
CASES = {
    "typiclust": {},
    "prob_cover": {},
    "dcom": {},
    "active_ft": {"num_steps": 7, "assign_every": 3},
    "k_means": {},
}
by_name = pytest.mark.parametrize("name", CASES)


def view_of(x, kind="some_labelled", is_certain=False):
    rng = np.random.default_rng(0)
    is_available, is_labelled = masks(kind)
    logits = rng.normal(size=(NUM_ROWS, CLASSES)).astype(np.float32)
    if is_certain:
        logits = np.where(np.arange(CLASSES)[None] == 1, 0, -np.inf).astype(np.float32)
        logits = np.repeat(logits, NUM_ROWS, axis=0)
    return View(
        jnp.asarray(is_available),
        jnp.asarray(is_labelled),
        labels=jnp.where(is_labelled, jnp.arange(NUM_ROWS) % CLASSES, -1),
        logits=jnp.asarray(logits),
        features=jnp.asarray(x),
    )


@functools.cache
def over_keys(name):
    """One program for all tests, so that a strategy compiles once."""
    made = strategy(name, **CASES[name])
    select = functools.partial(made.select, batch_size=BATCH_SIZE)
    return jax.jit(jax.vmap(select, (0, None)))


KEYS = jax.random.split(jax.random.key(3), 2)


def check(selections, view):
    for indices, scores, is_valid in zip(*map(np.asarray, selections), strict=True):
        free = np.asarray(view.is_available)
        expected = min(BATCH_SIZE, int(free.sum()))
        np.testing.assert_array_equal(is_valid, np.arange(BATCH_SIZE) < expected)
        assert free[indices[:expected]].all()
        assert len(set(indices[:expected].tolist())) == expected
        assert (indices[expected:] == NUM_ROWS).all()
        assert np.isfinite(scores[:expected]).all()
        assert (scores[expected:] == -np.inf).all()


@by_name
@pytest.mark.parametrize("kind", MASKS)
def test_picks_are_distinct_available_and_as_many_as_there_are(name, kind):
    for pool, x in POOLS.items():
        for is_certain in (False, True):
            view = view_of(x.astype(np.float32), kind, is_certain)
            try:
                check(over_keys(name)(KEYS, view), view)
            except AssertionError as error:
                raise AssertionError(f"in pool {pool}") from error


@by_name
def test_eager_half_precision_picks_are_those_of_jit_and_vmap(name):
    half = POOLS["float16"]
    expected = over_keys(name)(KEYS, view_of(half.astype(np.float32)))
    found = strategy(name, **CASES[name]).select(KEYS[1], view_of(half), BATCH_SIZE)
    np.testing.assert_array_equal(found.indices, expected.indices[1])


@pytest.mark.parametrize("name", ["typiclust", "prob_cover", "active_ft", "k_means"])
def test_three_bundles_give_a_row_each(name):
    # Three directions of unequal crowds; nothing is labelled, so each is worth one.
    rng = np.random.default_rng(1)
    bundle = np.repeat(np.arange(3), [20, 12, 8])
    x = 5 * np.eye(3)[bundle] + 0.1 * rng.normal(size=(NUM_ROWS, 3))
    view = view_of(x.astype(np.float32), "none_labelled")
    settings = CASES[name] | ({"radius": 0.3} if name == "prob_cover" else {})
    found = strategy(name, **settings).select(jax.random.key(0), view, 3)
    assert sorted(bundle[found.indices].tolist()) == [0, 1, 2]
