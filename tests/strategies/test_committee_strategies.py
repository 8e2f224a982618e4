"""Committees, expected change and Bayesian batches against their papers' picks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import View, strategy
from tests.reference import bayes, committee, scores

NUM_ROWS, NUM_CLASSES, WIDTH, NUM_SAMPLES, BATCH = 12, 3, 2, 4, 3
KEY = jax.random.key(0)


def make_view(seed: int) -> View:
    """A pool of random rows, some labelled and some neither labelled nor for sale."""
    rng = np.random.default_rng(seed)
    state = rng.choice(3, NUM_ROWS, p=[0.6, 0.3, 0.1])
    state[:5] = 0
    features = rng.normal(size=(NUM_ROWS, WIDTH))
    logits = 2 * features @ rng.normal(size=(WIDTH, NUM_CLASSES))
    samples = logits + rng.normal(size=(NUM_SAMPLES, NUM_ROWS, NUM_CLASSES))
    labels = np.where(state == 1, rng.integers(0, NUM_CLASSES, NUM_ROWS), -1)
    return View(
        jnp.asarray(state == 0),
        jnp.asarray(state == 1),
        jnp.asarray(labels, jnp.int32),
        *(jnp.asarray(x, jnp.float32) for x in (logits, samples, features)),
    )


@functools.cache
def chosen(name: str, **settings):
    return jax.jit(
        lambda key, view: strategy(name, **settings).select(key, view, BATCH).indices
    )


def picks_of(name, view, key=KEY, **settings):
    return chosen(name, **settings)(key, view).tolist()


def everything(view: View):
    return np.flatnonzero(view.is_available | view.is_labelled)


def bait_columns(view, approximation):
    if approximation == "regression":
        return [np.asarray(h, np.float64)[:, None] for h in view.features]
    probs = bayes.softmax(view.logits)
    return [
        bayes.fisher_columns(p, h, approximation)
        for p, h in zip(probs, np.asarray(view.features, np.float64), strict=True)
    ]


@pytest.mark.parametrize("name", ["vote_entropy", "consensus_entropy", "consensus_kl"])
def test_committees_pick_the_highest_scores(name):
    for seed in range(30):
        view = make_view(seed)
        worth = getattr(scores, name)(np.asarray(view.samples))
        expected = committee.best(worth.round(9), view.is_available, BATCH)
        found = worth[picks_of(name, view)]  # of equal rows the key decides
        np.testing.assert_allclose(found, worth[expected], rtol=1e-6, err_msg=f"{seed}")


def test_expected_gradient_length_picks_the_longest():
    for seed in range(30):
        view = make_view(seed)
        worth = scores.expected_gradient_length(
            np.asarray(view.logits), np.asarray(view.features), bias=True
        )
        expected = committee.best(worth, view.is_available, BATCH)
        assert picks_of("expected_gradient_length", view) == expected, seed


@pytest.mark.parametrize("exponent", [1.0, 2.5])
def test_information_density_compares_with_what_is_for_sale(exponent):
    for seed in range(30):
        view = make_view(seed)
        worth = committee.information_density(
            view.logits, view.features, view.is_available, exponent
        )
        expected = committee.best(worth, view.is_available, BATCH)
        found = picks_of("information_density", view, exponent=exponent)
        assert found == expected, seed


@pytest.mark.parametrize("loss", ["log", "zero_one"])
def test_expected_error_reduction_retrains_on_every_answer(loss):
    for seed in range(15):
        view = make_view(seed)
        inputs = np.concatenate([view.features, np.ones((NUM_ROWS, 1))], axis=1)
        worth = bayes.expected_error_reduction(
            np.asarray(view.logits),
            inputs,
            np.asarray(view.labels),
            np.asarray(view.is_labelled),
            np.flatnonzero(view.is_available),
            loss,
            0.5,
            1,
        )
        expected = committee.best(worth, view.is_available, BATCH)
        settings = {"loss": loss, "prior_precision": 0.5}
        found = picks_of("expected_error_reduction", view, **settings)
        assert found == expected, seed


def test_expected_error_reduction_of_a_sample_picks_from_the_sample():
    view = make_view(0)
    settings = {"num_candidates": 1, "num_targets": 3}
    found = [
        picks_of("expected_error_reduction", view, jax.random.key(seed), **settings)
        for seed in range(40)
    ]
    # Six of the rows for sale are looked at: what is chosen depends on the draw.
    assert len({tuple(sorted(rows)) for rows in found}) > 3
    assert all(view.is_available[row] for rows in found for row in rows)


def test_epig_asks_about_the_pool():
    for seed in range(20):
        view = make_view(seed)
        samples = np.asarray(view.samples)
        worth = bayes.epig(samples, samples[:, everything(view)])
        expected = committee.best(worth, view.is_available, BATCH)
        assert picks_of("epig", view) == expected, seed


def test_epig_asks_about_targets_given_in_either_way():
    view, rows = make_view(3), [1, 11, 4]
    samples = np.asarray(view.samples)
    worth = bayes.epig(samples, samples[:, rows])
    expected = committee.best(worth, view.is_available, BATCH)
    by_row = strategy("epig", targets=jnp.array(rows))
    by_sample = strategy("epig", target_samples=view.samples[:, jnp.array(rows)])
    assert by_row.select(KEY, view, BATCH).indices.tolist() == expected
    assert by_sample.select(KEY, view, BATCH).indices.tolist() == expected
    with pytest.raises(ValueError, match="targets and target_samples"):
        strategy("epig", targets=jnp.array(rows), target_samples=view.samples)


def test_epig_draws_targets_from_the_pool_and_not_from_its_padding():
    view = make_view(4)._replace(
        is_available=jnp.arange(NUM_ROWS) < 4, is_labelled=jnp.zeros(NUM_ROWS, bool)
    )
    samples = np.asarray(view.samples)
    firsts = {}
    for row in range(4):  # one target at a time: whose picks are these?
        worth = bayes.epig(samples, samples[:, [row]])
        firsts[tuple(committee.best(worth, view.is_available, BATCH))] = row
    found = {
        tuple(picks_of("epig", view, jax.random.key(seed), num_targets=1))
        for seed in range(40)
    }
    assert found == set(firsts) and len(found) > 1


@pytest.mark.parametrize("num_candidates", [None, 5])
def test_batch_bald_is_exact_while_answers_can_be_enumerated(num_candidates):
    for seed in range(15):
        view = make_view(seed)
        expected = committee.batch_bald_among_the_best(
            np.asarray(view.samples), view.is_available, BATCH, num_candidates or 12
        )
        found = picks_of("batch_bald", view, num_candidates=num_candidates)
        assert found == expected, seed


@pytest.mark.parametrize(
    ("name", "approximation"),
    [
        ("bait", "full"),
        ("bait_top", "top"),
        ("bait_binary", "binary"),
        ("bait_regression", "regression"),
    ],
)
def test_bait_is_forward_and_backward_selection(name, approximation):
    for seed in range(15):
        view = make_view(seed)
        expected, _ = bayes.bait(
            bait_columns(view, approximation),
            np.asarray(view.is_available),
            np.asarray(view.is_labelled),
            BATCH,
            0.5,
        )
        found = picks_of(name, view, regularization=0.5)
        assert found == expected, seed


def test_numbers_of_rows_are_checked():
    for name, setting in (
        ("epig", "num_targets"),
        ("batch_bald", "num_candidates"),
        ("expected_error_reduction", "num_candidates"),
    ):
        with pytest.raises(ValueError, match=f"{setting} is 0"):
            strategy(name, **{setting: 0})
