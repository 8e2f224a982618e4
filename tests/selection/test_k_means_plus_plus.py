"""k-means++ against the probabilities of the sequential algorithm."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.selection import (
    K_MEANS_PLUS_PLUS,
    blocked_selection,
    k_means_plus_plus,
)
from jaxal.selection.engine.block_rules import Decision, Rule
from tests.reference import selection as reference

NUM_DRAWS = 12_000


def keep_all(uniform, candidates, budget):
    """Takes stale distances at their word: what the rejection step is there for."""
    del uniform
    size = candidates.rows.size
    is_same = candidates.rows[:, None] == candidates.rows[None]
    is_first = jnp.argmax(is_same, axis=-1) == jnp.arange(size)
    is_kept = is_first & (jnp.cumsum(is_first) <= budget) & (candidates.values > 0)
    order = jnp.argsort(~is_kept, stable=True)
    return Decision(order, candidates.values[order], jnp.sum(is_kept, dtype=jnp.int32))


STALE = Rule(K_MEANS_PLUS_PLUS.propose, keep_all)

X = np.array([[0.0, 0.0], [0.4, 0.0], [5.0, 1.0], [5.0, 1.5], [9.0, 0.0], [8.0, 0.5]])
WEIGHTS = np.array([1.0, 2.0, 0.5, 1.0, 0.0, 1.0])


@functools.cache
def many_batches(rule):
    """Returns a compiled function from keys and a pool to ordered batches of three."""

    @jax.jit
    def draw(keys, is_available, is_labelled, weights):
        def one(key):
            return blocked_selection(
                rule,
                key,
                jnp.asarray(X, jnp.float32),
                is_available,
                is_labelled,
                batch_size=3,
                weights=weights,
                num_candidates=4,
            )[0].indices

        return jax.lax.map(one, keys, batch_size=1000)

    return draw


def ordered_batches(rule, is_available, is_labelled, weights):
    keys = jax.random.split(jax.random.key(0), NUM_DRAWS)
    weights = jnp.asarray(weights, jnp.float32)
    return np.asarray(many_batches(rule)(keys, is_available, is_labelled, weights))


def deviation(batches, probabilities):
    """Returns how many standard deviations chi-square is above its mean."""
    expected = {batch: NUM_DRAWS * p for batch, p in probabilities.items() if p > 0}
    counts = dict.fromkeys(expected, 0)
    for batch in map(tuple, batches.tolist()):
        counts[batch] += 1  # a batch that cannot be is a KeyError
    # Rare batches are counted together: chi-square wants five of each.
    rare = [batch for batch, number in expected.items() if number < 5]
    cells = [(counts[b], e) for b, e in expected.items() if e >= 5]
    if rare:
        cells.append((sum(counts[b] for b in rare), sum(expected[b] for b in rare)))
    observed, wanted = np.array(cells).T
    degrees = len(cells) - 1
    chi_square = np.sum(np.square(observed - wanted) / wanted)
    return (chi_square - degrees) / np.sqrt(2 * degrees)


@pytest.mark.parametrize("num_labelled", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_ordered_batches_have_the_sequential_probabilities(num_labelled):
    weights = WEIGHTS if num_labelled else np.ones(6)
    is_labelled = np.arange(6) < num_labelled
    case = ~is_labelled, is_labelled, weights
    probabilities = reference.batch_probabilities(X, *case[:2], 3, weights)
    assert abs(sum(probabilities.values()) - 1) < 1e-9
    exact = ordered_batches(K_MEANS_PLUS_PLUS, *case)
    assert deviation(exact, probabilities) < 4
    stale = ordered_batches(STALE, *case)
    assert deviation(stale, probabilities) > 40


NUM_ROWS, BATCH_SIZE, NUM_CANDIDATES, NUM_BATCHES = 1500, 30, 12, 200


def clustered(spread):
    rng = np.random.default_rng(0)
    places = spread * rng.normal(size=(15, 6))
    return (rng.normal(size=(NUM_ROWS, 6)) + places[np.arange(NUM_ROWS) % 15]).astype(
        np.float32
    )


@functools.cache
def many_selections(rule):
    """Returns a compiled function from a pool to selections of many keys."""

    @jax.jit
    def select(x):
        def one(key):
            return blocked_selection(
                rule,
                key,
                x,
                jnp.ones(NUM_ROWS, bool),
                batch_size=BATCH_SIZE,
                num_candidates=NUM_CANDIDATES,
            )

        return jax.lax.map(one, jax.random.split(jax.random.key(1), NUM_BATCHES))

    return select


def sequential_picks(rng, x):
    """As the reference, with distances kept up to date instead of computed anew."""
    picks = [int(rng.integers(len(x)))]
    nearest = reference.nearest(x, picks)
    while len(picks) < BATCH_SIZE:
        picks.append(int(rng.choice(len(x), p=nearest / nearest.sum())))
        nearest = np.minimum(nearest, reference.nearest(x, picks[-1:]))
    return picks


def potentials(x, batches):
    return np.array([reference.potential(x, batch) for batch in batches])


def standard_errors(found, wanted):
    """Returns by how many of its errors the mean of one sample differs from another."""
    error = np.sqrt((found.var() + wanted.var()) / NUM_BATCHES)
    return abs(found.mean() - wanted.mean()) / error


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 8.0])
def test_potential_has_the_moments_of_the_sequential_algorithm(spread):
    x, rng = clustered(spread), np.random.default_rng(1)
    selections, passes = many_selections(K_MEANS_PLUS_PLUS)(jnp.asarray(x))
    blocked = potentials(x, np.asarray(selections.indices))
    sequential = potentials(x, [sequential_picks(rng, x) for _ in range(NUM_BATCHES)])
    assert standard_errors(blocked, sequential) < 4
    assert 0.7 < blocked.std() / sequential.std() < 1.4
    # 30 picks with 12 candidates a pass, nearly all of which are kept.
    assert passes.min() >= 3 and passes.mean() < 10
    if spread:
        # Without clusters a stale distance is nearly a fresh one, and nothing is lost
        # by trusting it; with them, whole clusters are picked twice.
        stale, _ = many_selections(STALE)(jnp.asarray(x))
        found = potentials(x, np.asarray(stale.indices))
        assert standard_errors(found, sequential) > 5


def test_scores_are_distances_at_the_time_of_picking():
    x = clustered(8.0)
    selections, _ = many_selections(K_MEANS_PLUS_PLUS)(jnp.asarray(x))
    picks = selections.indices[0].tolist()
    for done in range(1, BATCH_SIZE):
        expected = reference.nearest(x, picks[:done])[picks[done]]
        np.testing.assert_allclose(selections.scores[0, done], expected, rtol=1e-4)
    norm = np.sum(np.square(x[picks[0]].astype(np.float64)))
    np.testing.assert_allclose(selections.scores[0, 0], norm, rtol=1e-5)


def test_largest_norm_first():
    x = jnp.array([[1.0, 0.0], [0.0, -3.0], [2.0, 0.0]])
    for seed in range(4):
        selection = k_means_plus_plus(
            jax.random.key(seed),
            x,
            jnp.ones(3, bool),
            batch_size=2,
            first="largest_norm",
        )
        assert int(selection.indices[0]) == 1
        assert float(selection.scores[0]) == 9.0
