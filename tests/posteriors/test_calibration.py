"""Temperatures against SciPy's minimum, and labels that train nobody."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from jaxal import (
    deterministic,
    hold_out,
    make_pool,
    mc_dropout,
    pool_mesh,
    supervised,
    temperature_scaled,
)
from jaxal.posteriors.calibration import fit_temperature
from tests.toys import blobs, linear

KEY = jax.random.key(0)


def pool_of(inputs, labels):
    return make_pool(inputs, labels, mesh=pool_mesh(jax.devices()[:1]))


@pytest.mark.parametrize(("num_samples", "scale"), [(1, 4.0), (5, 4.0), (5, 0.3)])
def test_it_is_scipys_minimum(num_samples, scale):
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(1, 80, 3))
    labels = (truth[0] + rng.gumbel(size=(80, 3))).argmax(-1)
    logits = scale * (truth + 0.5 * rng.normal(size=(num_samples, 80, 3)))
    weights = np.arange(80) < 60

    def loss(log_t):
        logs = log_softmax(logits / np.exp(log_t), axis=-1)
        mean = logsumexp(logs, axis=0) - np.log(num_samples)
        return -mean[np.arange(80), labels][weights].sum()

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded").x
    arrays = (jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
    found = fit_temperature(*arrays, jnp.asarray(weights, jnp.float32))
    np.testing.assert_allclose(found, np.exp(best), rtol=2e-2)
    assert float(fit_temperature(*arrays, jnp.zeros(80))) == 1


def test_samples_and_network_are_divided():
    inputs, labels = blobs(40, 3)
    model = linear(3, dropout=0.5)
    variables = model.init(KEY, inputs)
    base = mc_dropout(model, 4)
    scaled = temperature_scaled(base, (inputs, labels))
    state = scaled.fit(KEY, variables, pool_of(inputs, labels))
    factor = np.asarray(state.temperature)
    for found, expected in (
        (scaled.sample(KEY, state, inputs), base.sample(KEY, variables, inputs)),
        (scaled.network(state, inputs), base.network(variables, inputs)),
    ):
        np.testing.assert_allclose(found.logits * factor, expected.logits, rtol=1e-5)


def test_a_share_is_held_out_of_training_and_found_again():
    inputs, labels = blobs(60, 3)
    share = 0.3
    learner = hold_out(supervised(linear(3), epochs=2), share)
    state = learner.init(KEY, inputs)
    _, info = learner.fit(KEY, state, pool_of(inputs, labels))
    held = 60 - int(info.num_labelled)
    assert 8 < held < 30
    start = learner.start(KEY, state, pool_of(inputs, labels))
    trained = set(np.asarray(start.order)[: int(start.num_labelled)].tolist())
    others = np.array(sorted(set(range(60)) - trained))
    assert len(others) == held
    # The temperature is that of exactly those rows, and of those with a label.
    known = np.where(np.arange(60) < 45, labels, -1)
    base = deterministic(linear(3))
    found = temperature_scaled(base, share).fit(KEY, state, pool_of(inputs, known))
    rows = others[others < 45]
    expected = temperature_scaled(base, (inputs[rows], labels[rows])).fit(
        KEY, state, pool_of(inputs, known)
    )
    np.testing.assert_allclose(found.temperature, expected.temperature, rtol=1e-3)


def test_holdouts_are_checked():
    base = deterministic(linear(3))
    inputs, labels = blobs(10, 3)
    for wrong in (0.0, 1.5, (inputs, labels[:4])):
        with pytest.raises(ValueError, match="held out|holdout"):
            temperature_scaled(base, wrong)
