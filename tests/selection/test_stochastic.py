"""Stochastic batches: probabilities of ordered draws against enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxal.selection.stochastic import power_top_k, softmax_top_k, softrank_top_k
from tests.reference import bayes as reference

CASES = {
    "power": (power_top_k, reference.power_weights),
    "softmax": (softmax_top_k, reference.softmax_weights),
    "softrank": (softrank_top_k, reference.softrank_weights),
}
KEY = jax.random.key(0)
NUM_DRAWS = 20_000


@pytest.mark.parametrize("coldness", [1.0, 3.0])
@pytest.mark.parametrize("name", CASES)
def test_ordered_draws_have_the_papers_probabilities(name, coldness):
    select, weigh = CASES[name]
    scores = np.array([0.3, 0.8, 9.9, 0.05, 0.8, 0.2], np.float32)
    available = np.array([True, True, False, True, True, True])
    rows = np.flatnonzero(available)
    keys = jax.random.split(jax.random.key(int(10 * coldness)), NUM_DRAWS)
    draws = jax.vmap(
        lambda key: select(
            key, jnp.asarray(scores), available, batch_size=3, coldness=coldness
        )
    )(keys)
    weights = weigh(scores[rows].astype(np.float64), coldness)
    codes = np.asarray(draws.indices) @ np.array([36, 6, 1])
    observed, expected = [], []
    for order in itertools.permutations(range(len(rows)), 3):
        observed.append(np.sum(codes == rows[list(order)] @ np.array([36, 6, 1])))
        expected.append(NUM_DRAWS * reference.draw_probability(weights, order))
    assert sum(observed) == NUM_DRAWS
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_cold_draws_are_the_ranking(name):
    scores = jnp.array([0.3, 0.8, 0.1, 0.5])
    picks = CASES[name][0](KEY, scores, jnp.ones(4, bool), batch_size=4, coldness=1e4)
    assert picks.indices.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("name", CASES)
def test_fewer_available_than_asked_for(name):
    available = jnp.array([True, False, True, False, False])
    scores = jnp.zeros(5)
    picks = CASES[name][0](KEY, scores, available, batch_size=4)
    assert picks.is_valid.tolist() == [True, True, False, False]
    assert sorted(picks.indices[:2].tolist()) == [0, 2]


def test_power_draws_rows_without_score_last_and_at_random():
    scores = jnp.array([0.0, 1e-30, -1.0, 2.0, 0.0])
    keys = jax.random.split(KEY, 300)
    select = jax.vmap(
        lambda key: power_top_k(key, scores, jnp.ones(5, bool), batch_size=5)
    )
    indices = np.asarray(select(keys).indices)
    assert {tuple(sorted(row[:2])) for row in indices} == {(1, 3)}
    counts = np.bincount(indices[:, 2], minlength=5)[[0, 2, 4]]
    assert counts.sum() == 300
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_jit_equals_eager(name):
    scores = jax.random.uniform(jax.random.key(3), (50,))
    available = jnp.arange(50) % 3 > 0

    def select(key, coldness):
        return CASES[name][0](key, scores, available, batch_size=7, coldness=coldness)

    eager, jitted = select(KEY, 2.0), jax.jit(select)(KEY, 2.0)
    assert eager.indices.tolist() == jitted.indices.tolist()


def test_refusals_name_the_cure():
    with pytest.raises(TypeError, match="Cast it"):
        power_top_k(KEY, jnp.arange(3), jnp.ones(3, bool), batch_size=1)
    with pytest.raises(ValueError, match="for each row"):
        softrank_top_k(KEY, jnp.ones(3), jnp.ones(4, bool), batch_size=1)


@pytest.mark.parametrize("name", CASES)
def test_infinite_coldness_takes_the_top_and_less_than_none_is_refused(name):
    scores = jax.random.uniform(KEY, (20,)).at[3].set(0)
    draw, free = CASES[name][0], jnp.ones(20, bool)
    found = draw(KEY, scores, free, batch_size=5, coldness=jnp.inf)
    assert found.indices.tolist() == jnp.argsort(-scores)[:5].tolist()
    for odd in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="coldness is .*0 or more"):
            draw(KEY, scores, free, batch_size=5, coldness=odd)
