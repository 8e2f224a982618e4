"""Gaussian processes: against NumPy in 64 bits, and what they know of themselves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    active_learner,
    array_oracle,
    by_score,
    gaussian_process_classifier_head,
    gaussian_process_head,
    make_pool,
    pool_mesh,
    predictive_variance,
    regression_pool,
)
from jaxal.training.heads.kernels import (
    Hyperparameters,
    covariance,
    noise_of,
    noisy_covariance,
)

KEY = jax.random.key(0)


def waves(num_labelled, seed=0):
    """The second column says nothing."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-2, 2, size=(80, 2)).astype(np.float32) * np.float32([5, 0.1])
    targets = 1e3 + 100 * np.sin(inputs[:, 0] / 2) + rng.normal(size=80)
    rows = rng.permutation(80)[:num_labelled]
    known = np.full(80, np.nan, np.float32)
    known[rows] = targets[rows]
    return inputs, targets.astype(np.float32), known, rows


def one_device(inputs, known=None):
    return regression_pool(inputs, known, mesh=pool_mesh(jax.devices()[:1]))


def fitted(head, pool, state=None):
    state = head.learner.init(KEY, pool.inputs[:1]) if state is None else state
    return jax.jit(head.learner.fit)(KEY, state, pool)


def kernel_of(name, hyper, a, b):
    lengths = np.exp(np.asarray(hyper.log_lengths, float))
    gaps = (a[:, None] - b[None]) / lengths
    d = np.sqrt((gaps**2).sum(-1))
    shape = np.exp(-(d**2) / 2)
    if name == "matern":
        shape = (1 + 5**0.5 * d + 5 / 3 * d**2) * np.exp(-(5**0.5) * d)
    return np.exp(float(hyper.log_amplitude)) * shape


@pytest.mark.parametrize("name", ["matern", "rbf"])
def test_kernels_equal_the_definitions(name):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    hyper = Hyperparameters(jnp.array([0.1, -0.3, 1.0]), jnp.array(0.4), jnp.array(-2))
    found = covariance(name, hyper, jnp.float32(a), jnp.float32(b))
    np.testing.assert_allclose(found, kernel_of(name, hyper, a, b), rtol=1e-4)
    same = noisy_covariance(name, hyper, jnp.float32(a), jnp.arange(5) < 4)
    expected = kernel_of(name, hyper, a[:4], a[:4]) + np.eye(4) * noise_of(hyper)
    np.testing.assert_allclose(same[:4, :4], expected, rtol=2e-3)
    assert same[4].tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("name", ["matern", "rbf"])
def test_predictions_and_draws_are_those_of_the_conditioned_function(name):
    inputs, _, known, rows = waves(25)
    head = gaussian_process_head(name, capacity=30, num_samples=3000)
    pool = one_device(inputs, known)
    state, info = fitted(head, pool)
    hyper, y = state["params"], known[rows].astype(float)
    z = (inputs - inputs.mean(0)).astype(float) / inputs.std(0)
    gram = kernel_of(name, hyper, z[rows], z[rows])
    inverse = np.linalg.inv(gram + np.eye(25) * float(noise_of(hyper)))
    cross = kernel_of(name, hyper, z, z[rows])
    mean = y.mean() + cross @ inverse @ (y - y.mean())
    left = kernel_of(name, hyper, z, z) - cross @ inverse @ cross.T
    outputs = head.model.apply(state, pool.inputs)[0].logits
    np.testing.assert_allclose(outputs[:, 0], mean, atol=0.02 * y.std())
    spread = (np.diag(left) + float(noise_of(hyper))) * y.var()
    np.testing.assert_allclose(np.exp(outputs[:, 1]), spread, rtol=0.1)
    draws = head.posterior.sample(KEY, state, pool.inputs).logits
    assert draws.shape == (3000, 80, 2) and head.posterior.is_joint
    found = np.cov(draws[..., 0].T)
    np.testing.assert_allclose(found, left * y.var(), atol=0.1 * np.diag(found).max())
    assert int(info.num_labelled) == 25
    np.testing.assert_allclose(
        np.exp(draws[0, 0, 1]), float(noise_of(hyper)) * y.var(), rtol=1e-4
    )


def test_lengths_are_long_where_a_column_says_nothing_and_noise_is_found():
    inputs, targets, known, _ = waves(60)
    head = gaussian_process_head(capacity=60)
    state, _ = fitted(head, one_device(inputs, known))
    lengths = np.exp(state["params"].log_lengths)
    assert lengths[1] > 4 * lengths[0]
    metrics = head.learner.evaluate(state, jnp.asarray(inputs), jnp.asarray(targets))
    assert float(metrics.rmse) < 3  # the noise is 1, the wave 100
    noise = noise_of(state["params"]) * state["units"].deviation ** 2
    assert 0.3 < float(noise) < 10


@pytest.mark.parametrize("num_labelled", [0, 1, 2])
def test_few_targets_are_no_trouble(num_labelled):
    inputs, _, known, rows = waves(num_labelled)
    head = gaussian_process_head(capacity=100)  # more than the pool has
    state, _ = fitted(head, one_device(inputs, known))
    outputs = head.model.apply(state, jnp.asarray(inputs))[0].logits
    assert jnp.isfinite(outputs).all()
    if num_labelled == 1:
        np.testing.assert_allclose(outputs[rows[0], 0], known[rows[0]], rtol=1e-3)


def test_lengths_are_kept_until_labels_have_grown_by_half():
    inputs, targets, _, _ = waves(80)
    head, state, seen = gaussian_process_head(capacity=40), None, []
    for count in (10, 12, 15):
        known = np.where(np.arange(80) < count, targets, np.nan)
        state, info = fitted(head, one_device(inputs, known), state)
        seen.append((int(state["num_labelled"]), int(info.num_steps) > 0))
        assert int(info.num_labelled) == count
    assert seen == [(10, True), (10, False), (15, True)]


def test_a_loop_that_looks_where_it_is_unsure():
    inputs, targets, _, _ = waves(80)
    head = gaussian_process_head(capacity=20)
    loop = active_learner(
        None,
        head.learner,
        by_score(partial(predictive_variance, has_log_variance=True), "samples"),
        array_oracle(jnp.asarray(targets)),
        batch_size=4,
        posterior=head.posterior,
        test=(jnp.asarray(inputs), jnp.asarray(targets)),
    )
    state = loop.init(KEY, one_device(inputs), initial=4)
    for i in range(5):
        state, info = loop.step(jax.random.key(i), state)
    assert int(info.num_labelled) == 20
    assert float(info.metrics.r2) > 0.95 and np.isfinite(float(info.metrics.nll))


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match="kernel is 'linear'"):
        gaussian_process_head("linear")
    with pytest.raises(ValueError, match="capacity is 0"):
        gaussian_process_head(capacity=0)


def rings(num_labelled, seed=0):
    """Three classes by the distance from the middle; the third column says nothing."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(90, 3)).astype(np.float32)
    labels = np.digitize(np.hypot(*inputs[:, :2].T), [0.8, 1.5]).astype(np.int32)
    rows = rng.permutation(90)[:num_labelled]
    known = np.full(90, -1, np.int32)
    known[rows] = labels[rows]
    pool = make_pool(inputs, known, mesh=pool_mesh(jax.devices()[:1]))
    return inputs, labels, pool, rows


@pytest.mark.parametrize(("name", "scaling"), [("matern", "one"), ("rbf", "columns")])
def test_classes_are_regressions_on_what_labels_stand_for(name, scaling):
    inputs, labels, pool, rows = rings(40)
    head = gaussian_process_classifier_head(
        3, name, scaling=scaling, capacity=50, num_samples=3000
    )
    state, info = fitted(head, pool)
    hyper = state["params"]
    spread = inputs.std(0) if scaling == "columns" else inputs.var(0).mean() ** 0.5
    z = (inputs - inputs.mean(0)).astype(float) / spread
    cross = kernel_of(name, hyper, z, z[rows])
    gram = cross[rows]
    alpha = 0.01 + np.eye(3)[labels[rows]]
    variance = np.log(1 + 1 / alpha)
    target = np.log(alpha) - variance / 2
    shift, spread = (float(x) for x in state["units"])
    means, lefts = [], []
    for c in range(3):
        noise = variance[:, c] / spread**2 + float(noise_of(hyper))
        inverse = np.linalg.inv(gram + np.diag(noise))
        means.append(shift + cross @ inverse @ (target[:, c] - shift))
        left = kernel_of(name, hyper, z, z) - cross @ inverse @ cross.T
        lefts.append(spread**2 * left)
    spreads = np.stack([np.diag(left) for left in lefts], 1)
    expected = np.stack(means, 1) / np.sqrt(1 + np.pi / 8 * spreads)
    found = head.model.apply(state, pool.inputs)[0].logits
    np.testing.assert_allclose(found, expected, atol=0.02)
    draws = np.asarray(head.posterior.sample(KEY, state, pool.inputs).logits)
    np.testing.assert_allclose(draws.mean(0), np.stack(means, 1), atol=0.25)
    for c, left in enumerate(lefts):
        np.testing.assert_allclose(np.cov(draws[..., c].T), left, atol=0.1 * left.max())
    likely = jax.nn.log_softmax(np.stack(means, 1)[rows])
    loss = -np.mean(likely[np.arange(40), labels[rows]])
    np.testing.assert_allclose(info.loss, loss, rtol=0.02)


def test_classes_that_no_line_parts_are_learnt_and_surprise_is_known():
    inputs, labels, pool, rows = rings(60)
    head = gaussian_process_classifier_head(3, capacity=60)
    state, _ = fitted(head, pool)
    rest = np.setdiff1d(np.arange(90), rows)
    metrics = head.learner.evaluate(state, inputs[rest], labels[rest])
    assert float(metrics.accuracy) > 0.7  # a line reaches a half
    near, far = head.model.apply(state, np.float32([[0, 0, 0], [40, 40, 0]]))[0].logits
    assert jax.nn.softmax(near).max() > 0.7
    np.testing.assert_allclose(jax.nn.softmax(far), 1 / 3, atol=0.02)


@pytest.mark.parametrize("num_labelled", [0, 1])
def test_few_classes_seen_are_no_trouble(num_labelled):
    inputs, labels, pool, rows = rings(num_labelled)
    head = gaussian_process_classifier_head(3, capacity=100)  # more than the pool has
    state, _ = fitted(head, pool)
    logits = head.model.apply(state, jnp.asarray(inputs))[0].logits
    assert jnp.isfinite(logits).all()
    assert (logits[rows].argmax(-1) == labels[rows]).all()
