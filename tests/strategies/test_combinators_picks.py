"""Strategies from strategies pick what the plain loops of the papers pick."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxal import (
    View,
    by_score,
    class_balanced,
    entropy,
    margin,
    mixture,
    partition,
    schedule,
    stochastic,
    strategy,
    subsample,
    uncertain_then_diverse,
    warm_up,
)
from jaxal.strategies.parts import confined, gathered
from jaxal.types import Selection
from tests.reference import bayes
from tests.reference import combinators as reference

NUM_ROWS, NUM_CLASSES = 40, 3
KEY = jax.random.key(0)


def random_view(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(NUM_ROWS, NUM_CLASSES)).astype(np.float32)
    features = rng.normal(size=(NUM_ROWS, 4)).astype(np.float32)
    state = rng.integers(0, 4, NUM_ROWS)  # 0 labelled, 1 padding, else available
    labels = np.where(state == 0, rng.integers(0, NUM_CLASSES, NUM_ROWS), -1)
    arrays = state > 1, state == 0, labels.astype(np.int32), logits
    return View(*map(jnp.asarray, arrays), features=jnp.asarray(features))


def picks_of(chosen, view, k, key=KEY):
    picks = chosen.select(key, view, k)
    return np.asarray(picks.indices)[np.asarray(picks.is_valid)].tolist()


@functools.cache
def scores_line():
    """A strategy that ranks by the first logit: 0 beats 1 beats 2 and so on."""
    return by_score(lambda logits: logits[:, 0])


def line(num_rows):
    logits = -jnp.arange(num_rows, dtype=jnp.float32)[:, None]
    free = jnp.ones(num_rows, bool)
    return View(free, ~free, logits=logits)


@pytest.mark.parametrize("max_labelled", [4096, 20])  # masked, gathered
def test_uncertain_then_diverse_is_core_set_of_the_shortlist(max_labelled):
    chosen = uncertain_then_diverse(margin, strategy("coreset"), 3, max_labelled)
    for seed in range(15):
        view = random_view(seed)
        expected = reference.uncertain_then_k_center(
            view.logits, view.features, view.is_available, view.is_labelled, 5, 3
        )
        assert picks_of(chosen, view, 5) == expected


def test_class_balance_is_the_loop_over_the_class_that_has_least():
    chosen = class_balanced(strategy("margin"), factor=3)
    for seed in range(15):
        view = random_view(seed)
        scores = reference.margin_scores(view.logits)
        proposals = reference.best_rows(scores, view.is_available, 3 * 7)
        predicted = np.argmax(view.logits, axis=-1)
        expected = reference.balanced(
            proposals, predicted, np.asarray(view.labels), NUM_CLASSES, 7
        )
        assert picks_of(chosen, view, 7) == expected


def test_a_mixture_is_one_after_another():
    chosen = mixture([strategy("margin"), by_score(lambda x: x[:, 0])], [1, 2])
    for seed in range(10):
        view = random_view(seed)
        columns = reference.margin_scores(view.logits), view.logits[:, 0]
        expected = reference.one_after_another(columns, (3, 5), view.is_available)
        assert picks_of(chosen, view, 8) == expected


@pytest.mark.parametrize(
    ("weights", "total", "sizes"),
    [((1, 1), 5, (3, 2)), ((1, 1, 1), 2, (1, 1, 0)), ((0.7, 0.2, 0.1), 9, (6, 2, 1))],
)
def test_shares_add_up(weights, total, sizes):
    from jaxal.strategies.combinators import _apportion

    assert tuple(_apportion(tuple(map(float, weights)), total)) == sizes


def test_a_schedule_changes_at_its_boundaries():
    first, second, third = (by_score(lambda x, c=c: x[:, c]) for c in range(3))
    chosen = schedule([first, second, third], [2, 5])
    view = random_view(3)
    logits = np.asarray(view.logits)
    for num_labelled, column in ((0, 0), (1, 0), (2, 1), (4, 1), (5, 2), (20, 2)):
        is_labelled = jnp.arange(NUM_ROWS) < num_labelled
        now = view._replace(is_available=~is_labelled, is_labelled=is_labelled)
        expected = reference.best_rows(logits[:, column], ~is_labelled, 4)
        assert picks_of(chosen, now, 4) == expected


@pytest.mark.slow
def test_warm_up_begins_with_chance_and_tcm_with_coverage():
    view = random_view(4)
    cold = view._replace(
        is_available=jnp.ones(NUM_ROWS, bool), is_labelled=jnp.zeros(NUM_ROWS, bool)
    )
    warm = warm_up(strategy("margin"), labels=3)
    draws = {tuple(picks_of(warm, cold, 4, jax.random.key(i))) for i in range(6)}
    assert len(draws) == 6
    assert picks_of(warm, view, 4) == picks_of(strategy("margin"), view, 4)
    tcm = strategy("tcm", transition=3)
    assert picks_of(tcm, view, 4) == picks_of(strategy("margin"), view, 4)
    late = strategy("tcm", transition=30)
    assert picks_of(late, view, 4) == picks_of(strategy("typiclust"), view, 4)


@pytest.mark.parametrize("kind", ["power", "softmax", "softrank"])
def test_stochastic_batches_have_the_papers_chances(kind):
    scores = np.array([0.9, 0.2, 0.6, 0.3, 0.8], np.float32)
    is_available = jnp.array([True, True, True, True, False])
    view = View(is_available, jnp.zeros(5, bool), logits=jnp.asarray(scores)[:, None])
    chosen = stochastic(by_score(lambda x: x[:, 0]), kind, coldness=2.0)
    draw = jax.vmap(lambda key: chosen.select(key, view, 2).indices)
    found = np.asarray(draw(jax.random.split(KEY, 6000)))
    weights = getattr(bayes, f"{kind}_weights")(scores[:4].astype(np.float64), 2.0)
    observed, expected = [], []
    for order in itertools.permutations(range(4), 2):
        observed.append(int(np.all(found == np.array(order), axis=1).sum()))
        expected.append(6000 * bayes.draw_probability(weights, order))
    assert sum(observed) == 6000
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("max_labelled", [4096, 0])  # masked, gathered
def test_a_subsample_is_uniform(max_labelled):
    chosen = subsample(scores_line(), 4, max_labelled)
    draw = jax.vmap(lambda key: chosen.select(key, line(8), 2).indices)
    found = np.asarray(draw(jax.random.split(KEY, 4000)))
    subsets = list(itertools.combinations(range(8), 4))
    pairs = {pair: 0.0 for pair in itertools.combinations(range(8), 2)}
    for subset in subsets:  # the best two of each
        pairs[subset[:2]] += 4000 / len(subsets)
    likely = {pair: count for pair, count in pairs.items() if count > 0}
    observed = [int(np.all(found == np.array(p), axis=1).sum()) for p in likely]
    assert sum(observed) == 4000
    assert stats.chisquare(observed, list(likely.values())).pvalue > 1e-3


def test_parts_are_dealt_uniformly_and_each_gives_its_best():
    chosen = partition(scores_line(), 2)
    draw = jax.vmap(lambda key: chosen.select(key, line(6), 2).indices)
    found = np.sort(np.asarray(draw(jax.random.split(KEY, 4000))), axis=1)
    # Row 0 always wins its part of three; the best row of the other part is the second.
    assert (found[:, 0] == 0).all()
    expected = 4000 * np.array([3 / 5, 2 / 5 * 3 / 4, 2 / 5 * 1 / 4])
    observed = np.bincount(found[:, 1], minlength=4)[1:4]
    assert observed.sum() == 4000
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_parts_buy_all_there_is_and_no_part_more_than_its_quota():
    chosen = partition(scores_line(), 4)
    for num_free in range(0, 12):
        free = jnp.arange(13) < num_free
        view = line(13)._replace(is_available=free, is_labelled=jnp.arange(13) > 10)
        rows = picks_of(chosen, view, 7)
        assert len(set(rows)) == len(rows) == min(7, min(num_free, 11))


def test_gathered_rows_are_rows_of_the_pool_and_the_rest_is_padding():
    view = random_view(5)._replace(samples=jnp.arange(80.0).reshape(2, 40, 1))
    small = gathered(view._replace(rows=(view.logits, None)), jnp.array([3, 8, 40]))
    assert small.samples[:, :2, 0].tolist() == [[3.0, 8.0], [43.0, 48.0]]
    np.testing.assert_array_equal(small.rows[0][:2], view.logits[jnp.array([3, 8])])
    assert small.rows[1] is None
    assert not bool(small.is_available[2] | small.is_labelled[2])


def test_a_confined_strategy_sees_positions_and_answers_with_rows():
    seen = []

    def select(key, view, batch_size):
        seen.append(view)
        first = jnp.argmax(view.is_available).astype(jnp.int32)
        return Selection(first[None], jnp.zeros(1), jnp.array([True]))

    view = random_view(6)
    free = np.flatnonzero(view.is_available)[-3:]
    chosen = Selection(jnp.asarray(free[::-1]), jnp.zeros(3), jnp.ones(3, bool))
    part = strategy("random")._replace(
        step=lambda key, view, memory, size: (select(key, view, size), memory)
    )
    picks, _ = confined(part, KEY, view, (), chosen, 1, 2)
    assert picks.indices.tolist() == [free[0]]
    (small,) = seen
    assert small.logits.shape == (5, NUM_CLASSES)
    assert int(small.is_available.sum()) == 3 and int(small.is_labelled.sum()) == 2


def test_settings_that_cannot_be_are_refused():
    both = [strategy("margin"), strategy("entropy")]
    with pytest.raises(ValueError, match="one weight a strategy"):
        mixture(both, [1.0])
    with pytest.raises(ValueError, match="one weight a strategy"):
        mixture(both, [0.0, 0.0])
    with pytest.raises(ValueError, match="one fewer than strategies"):
        schedule(both, [3, 4])
    with pytest.raises(ValueError, match="kind is 'colder'"):
        stochastic(entropy, "colder")
    with pytest.raises(ValueError, match="gives no score"):
        stochastic(strategy("coreset"))
    with pytest.raises(ValueError, match="factor is 0"):
        uncertain_then_diverse(entropy, strategy("coreset"), 0)
    with pytest.raises(ValueError, match="size is 0"):
        subsample(strategy("margin"), 0)
    with pytest.raises(ValueError, match="parts is 0"):
        partition(strategy("margin"), 0)
