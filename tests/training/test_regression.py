"""Regression: scores, tasks, pools of real numbers, and the loop over them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    active_learner,
    array_oracle,
    bootstrap_ensemble,
    by_score,
    by_selector,
    combine_gaussians,
    deep_ensemble,
    gaussian_bald,
    gaussian_likelihood,
    gaussian_nll,
    k_center,
    least_squares,
    make_pool,
    noisy_oracle,
    pool_mesh,
    predictive_variance,
    regression_metrics,
    regression_pool,
    reluctant_oracle,
    reveal,
    strategy,
    supervised,
)
from jaxal.types import Model, Output
from tests.reference import regression as reference
from tests.toys import linear

KEY = jax.random.key(0)
NOISY_VARIANCE = partial(predictive_variance, has_log_variance=True)


def one_device(inputs, targets=None):
    return regression_pool(inputs, targets, mesh=pool_mesh(jax.devices()[:1]))


def test_scores_equal_the_definitions():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        samples = rng.normal(size=(5, 7, 2)).astype(np.float32)
        means, variances = samples[..., 0], np.exp(samples[..., 1].astype(float))
        pairs = list(zip(means.T.astype(float), variances.T, strict=True))
        expected = [reference.mixture_variance(*pair) for pair in pairs]
        np.testing.assert_allclose(NOISY_VARIANCE(samples), expected, rtol=1e-5)
        expected = [reference.gaussian_bald(*pair) for pair in pairs]
        np.testing.assert_allclose(gaussian_bald(samples), expected, atol=2e-6)
        expected = [reference.gaussian_bald(m, np.full(5, 0.3)) for m, _ in pairs]
        for form in (means, means[..., None]):
            found = gaussian_bald(form, noise_variance=0.3)
            np.testing.assert_allclose(found, expected, atol=2e-6)
            np.testing.assert_allclose(
                predictive_variance(form), means.astype(float).var(0), rtol=1e-5
            )


def test_scores_of_networks_that_agree_and_of_means_far_from_zero():
    same = np.broadcast_to(np.float32([[1e4, 0.5]]), (6, 3, 2))
    assert (gaussian_bald(same) == 0).all()
    np.testing.assert_allclose(NOISY_VARIANCE(same), np.exp(0.5), rtol=1e-6)
    far = np.float32([[1e4], [1e4 + 1]])
    np.testing.assert_allclose(predictive_variance(far), 0.25)
    half = NOISY_VARIANCE(jnp.ones((2, 3, 2), jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


@pytest.mark.parametrize("shift", [0.0, 1e6, -3e7])
def test_the_spread_of_means_far_from_zero_is_that_of_their_own_digits(shift):
    rng = np.random.default_rng(1)
    means = (shift + rng.normal(size=(7, 200))).astype(np.float32)
    expected = means.astype(float).var(axis=0)
    np.testing.assert_allclose(predictive_variance(means), expected, rtol=1e-5)
    found = gaussian_bald(means, noise_variance=0.1)
    np.testing.assert_allclose(found, 0.5 * np.log1p(expected / 0.1), rtol=1e-5)


def test_two_columns_are_said_to_be_mean_and_log_variance():
    samples = jnp.ones((2, 3, 2))
    for said in (None, False):
        with pytest.raises(ValueError, match=r"\[2, 3, 2\].*has_log_variance=True"):
            predictive_variance(samples, has_log_variance=said)
    assert predictive_variance(samples[..., :1]).tolist() == [0, 0, 0]


def test_scores_say_what_is_missing():
    with pytest.raises(ValueError, match="noise once"):
        gaussian_bald(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="noise once"):
        gaussian_bald(jnp.ones((2, 3, 2)), noise_variance=1.0)
    with pytest.raises(ValueError, match="1 or 2 numbers"):
        predictive_variance(jnp.ones((2, 3, 4)))
    with pytest.raises(TypeError, match="float32"):
        predictive_variance(jnp.ones((2, 3), int))


def test_tasks_equal_the_definitions():
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(4, 9, 2)), rng.normal(size=9)
    outputs, targets = outputs.astype(np.float32), targets.astype(np.float32)
    mean, variance = outputs[0, :, 0], np.exp(outputs[0, :, 1])
    logs = reference.log_density(targets, mean, variance)
    np.testing.assert_allclose(gaussian_nll(outputs[0], targets), -logs, rtol=1e-5)
    mixed = combine_gaussians(outputs)
    for n in range(9):
        pair = outputs[:, n, 0], np.exp(outputs[:, n, 1])
        np.testing.assert_allclose(mixed[n, 0], pair[0].mean(), rtol=1e-5)
        expected = np.log(reference.mixture_variance(*pair))
        np.testing.assert_allclose(mixed[n, 1], expected, atol=1e-5)
    metrics = regression_metrics(outputs[0], targets)
    errors = mean - targets
    np.testing.assert_allclose(metrics.rmse, np.sqrt(np.mean(errors**2)), rtol=1e-5)
    np.testing.assert_allclose(metrics.mae, np.abs(errors).mean(), rtol=1e-5)
    np.testing.assert_allclose(
        metrics.r2, 1 - np.mean(errors**2) / np.var(targets), rtol=1e-4
    )
    np.testing.assert_allclose(metrics.nll, -logs.mean(), rtol=1e-5)
    assert jnp.isnan(regression_metrics(outputs[0, :, :1], targets).nll)
    with pytest.raises(ValueError, match=r"expected \[B, 2\]"):
        gaussian_nll(outputs[0, :, :1], targets)


def test_a_pool_of_real_numbers_takes_minus_one_for_a_number():
    targets = np.array([-1.0, np.nan, 3.5, np.nan])
    pool = one_device(np.zeros((4, 2), np.float32), targets)
    assert pool.labels.dtype == jnp.float32
    assert pool.is_labelled.tolist() == [True, False, True, False]
    answers = jnp.array([-1.0, jnp.nan])
    after = reveal(pool, jnp.array([1, 3]), answers, jnp.ones(2, bool))
    assert after.is_labelled.tolist() == [True, True, True, False]
    assert float(after.labels[1]) == -1
    with pytest.raises(ValueError, match="real numbers"):
        reveal(pool, jnp.array([1]), jnp.array([1]), jnp.ones(1, bool))
    with pytest.raises(ValueError, match="regression_pool"):
        classes = make_pool(np.zeros((4, 2), np.float32))
        reveal(classes, jnp.array([1]), jnp.array([1.0]), jnp.ones(1, bool))
    with pytest.raises(ValueError, match="float32 has not"):
        one_device(np.zeros((1, 2), np.float32), np.array([np.inf]))
    with pytest.raises(ValueError, match="one number a row"):
        one_device(np.zeros((2, 2), np.float32), np.array([1.0]))


def test_oracles_of_real_numbers():
    oracle = array_oracle(jnp.array([0.25, -1.0]))
    np.testing.assert_array_equal(oracle(KEY, jnp.array([1, 0])), [-1.0, 0.25])
    assert jnp.isnan(reluctant_oracle(oracle, 1.0)(KEY, jnp.array([0]))).all()
    with pytest.raises(TypeError, match="confuses"):
        noisy_oracle(oracle, 0.1, 2)(KEY, jnp.array([0]))


def test_least_squares_equals_the_normal_equations():
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(40, 2)).astype(np.float32)
    targets = inputs @ np.array([2.0, -1.0]) + 0.5 + 0.1 * rng.normal(size=40)
    targets[30:] = np.nan
    pool = one_device(inputs, targets)
    learner = supervised(linear(1), epochs=300, batch_size=32, task=least_squares)
    state, info = jax.jit(learner.fit)(KEY, learner.init(KEY, pool.inputs), pool)
    known = np.concatenate([inputs, np.ones((40, 1))], axis=1)[:30]
    expected = np.linalg.lstsq(known, targets[:30], rcond=None)[0]
    found = np.append(state["params"]["w"][:, 0], state["params"]["b"])
    np.testing.assert_allclose(found, expected, atol=0.02)  # weight decay pulls a bit
    assert int(info.num_labelled) == 30
    metrics = learner.evaluate(state, jnp.asarray(inputs[:30]), pool.labels[:30])
    assert float(metrics.r2) > 0.99
    with pytest.raises(ValueError, match="label_smoothing"):
        supervised(linear(1), task=least_squares, label_smoothing=0.1)


def waves(num_outputs: int = 1) -> Model:
    """A linear model on bumps: far from all data it says what its weights began as."""
    centres = np.linspace(-1, 1, 15, dtype=np.float32)

    def init(key, inputs):
        return {"params": 0.3 * jax.random.normal(key, (15, num_outputs))}

    def apply(variables, inputs, *, key=None, train=False):
        features = jnp.exp(-0.5 * ((inputs - centres[None]) / 0.1) ** 2)
        return Output(features @ variables["params"], features), variables

    return Model(init, apply)


def curve(seed):
    """Most of the pool lies where there is little to learn, some where there is."""
    rng = np.random.default_rng(seed)
    crowd, rest = rng.uniform(-1, -0.7, 180), rng.uniform(-0.7, 1, 60)
    x = np.concatenate([crowd, rest]).astype(np.float32)
    test = np.linspace(-1, 1, 101, dtype=np.float32)
    return x[:, None], np.sin(6 * x), test[:, None], np.sin(6 * test)


def error_of(choose, bagged, seeds=3, rounds=4):
    inputs, targets, test_inputs, test_targets = curve(0)
    loop = active_learner(
        waves(),
        bagged.learner,
        choose,
        array_oracle(jnp.asarray(targets)),
        batch_size=4,
        posterior=bagged.posterior,
        test=(jnp.asarray(test_inputs), jnp.asarray(test_targets)),
    )
    found = []
    for seed in range(seeds):
        state = loop.init(jax.random.key(seed), one_device(inputs), initial=4)
        for i in range(rounds + 1):
            state, info = loop.step(jax.random.key(100 * seed + i), state)
        assert int(info.num_labelled) == 4 + 4 * rounds
        assert int(info.num_bad_rows) == 0
        found.append(float(info.metrics.rmse))
    return np.mean(found)


@pytest.mark.slow
def test_looking_where_it_is_unsure_beats_chance():
    bagged = bootstrap_ensemble(
        waves(), members=4, epochs=120, batch_size=32, task=least_squares
    )
    chance = error_of(strategy("random"), bagged)
    assert error_of(by_score(predictive_variance, "samples"), bagged) < 0.8 * chance
    assert error_of(by_selector(k_center, "inputs"), bagged) < 0.8 * chance


def test_ask_and_tell_by_hand_and_networks_that_know_their_noise():
    inputs, targets, *_ = curve(0)
    model = waves(2)
    loop = active_learner(
        model,
        supervised(model, epochs=20, members=3, task=gaussian_likelihood),
        by_score(gaussian_bald, "samples"),
        batch_size=3,
        posterior=deep_ensemble(model, 3, combine=combine_gaussians),
    )
    known = np.where(np.arange(240) < 5, targets, np.nan)
    state = loop.init(KEY, one_device(inputs, known))
    state, selection, _ = loop.ask(KEY, state)
    with pytest.raises(ValueError, match="expected real numbers"):
        loop.tell(state, selection, np.array([1, 2, 3]))
    with pytest.raises(ValueError, match="numbers, or NaN"):
        loop.tell(state, selection, jnp.array([1.0, jnp.inf, 0.0]))
    answers = jnp.array([-7.5, jnp.nan, 0.0])
    after = loop.tell(state, selection, answers).pool
    assert after.is_labelled[selection.indices].tolist() == [True, False, True]
    assert float(after.labels[selection.indices[0]]) == -7.5
