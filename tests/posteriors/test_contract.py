"""The laws of every posterior: one function a sample, whatever the chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    bootstrap_ensemble,
    combine_gaussians,
    committee,
    deep_ensemble,
    deterministic,
    drawn_functions,
    drawn_parameters,
    gaussian_functions,
    laplace,
    make_pool,
    mc_dropout,
    pool_mesh,
    strategy,
    temperature_scaled,
)
from jaxal.types import Strategy
from jaxal.viewing import make_look
from tests.thinned import thinned
from tests.toys import DEVICE_COUNTS, blobs, linear

KEY = jax.random.key(0)
INPUTS, LABELS = blobs(16, 3)
INPUTS[12:] = INPUTS[:4]  # equal rows, in other chunks
MODEL = linear(3, dropout=0.5)
EVERYTHING = Strategy(
    frozenset({"logits", "predictive", "samples"}), strategy("random").select
)


def one(key):
    return MODEL.init(key, INPUTS)


def several(key):
    return jax.vmap(one)(jax.random.split(key, 5))


def prior(state, inputs):
    gaps = jnp.square(inputs[:, None] - inputs[None]).sum(-1)
    return jnp.zeros([len(inputs), 3]), jnp.exp(-gaps / 2)


def waves(key, state, inputs):
    directions = jax.random.normal(key, (5, inputs.shape[1], 3))
    return jnp.sin(jnp.einsum("nd,sdc->snc", inputs, directions))


POSTERIORS = {
    "mc_dropout": (mc_dropout(MODEL, 5), one),
    "deep_ensemble": (deep_ensemble(MODEL, 5), several),
    "bootstrap": (bootstrap_ensemble(MODEL, members=5).posterior, several),
    "committee": (committee([MODEL] * 5), lambda key: (one(key),) * 5),
    "drawn_parameters": (drawn_parameters(MODEL, 5), several),
    "laplace": (laplace(MODEL, num_samples=5), one),
    "laplace_full": (laplace(MODEL, "full", num_samples=5), one),
    "gaussian": (gaussian_functions(prior, 5), lambda key: {}),
    "functions": (
        drawn_functions(
            waves,
            5,
            network=lambda state, x: jnp.zeros([len(x), 3]),
            is_joint=False,
        ),
        lambda key: {},
    ),
    "temperature": (
        temperature_scaled(mc_dropout(MODEL, 5), (INPUTS[:9], LABELS[:9])),
        one,
    ),
    "deterministic": (deterministic(MODEL), one),
}


@pytest.mark.sharded
@pytest.mark.parametrize("name", thinned(POSTERIORS, 5))
def test_chunks_and_devices_see_the_same_functions(name):
    posterior, init = POSTERIORS[name]
    known = np.where(np.arange(16) % 3 == 0, LABELS, -1)
    views = []
    for devices, chunk_size in ((1, 16), (1, 3), (DEVICE_COUNTS[-1], 2)):
        mesh = pool_mesh(jax.devices()[:devices])
        pool = make_pool(INPUTS, known, mesh=mesh)
        state = posterior.fit(KEY, init(KEY), pool)
        look = make_look(posterior, EVERYTHING, chunk_size, None)
        views.append(look(jax.random.key(5), state, pool).view)
    samples = views[0].samples
    assert samples.shape == (posterior.num_samples, 16, 3)
    # Equal rows have equal logits in every sample, wherever they stand.
    np.testing.assert_allclose(samples[:, 12:], samples[:, :4], atol=1e-3)
    for view in views[1:]:
        for field in ("samples", "predictive", "logits"):
            expected, found = getattr(views[0], field), getattr(view, field)
            np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=field)


@pytest.mark.parametrize("name", POSTERIORS)
def test_the_prediction_is_the_mean_of_the_samples_probabilities(name):
    posterior, init = POSTERIORS[name]
    pool = make_pool(INPUTS, LABELS, mesh=pool_mesh(jax.devices()[:1]))
    state = posterior.fit(KEY, init(KEY), pool)
    samples = np.asarray(posterior.sample(KEY, state, pool.inputs).logits, np.float64)
    probs = np.exp(samples - samples.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    found = jax.nn.softmax(posterior.predict(KEY, state, pool.inputs).logits)
    np.testing.assert_allclose(found, probs.mean(0), atol=1e-5)
    network = posterior.network(state, pool.inputs)
    assert network.logits.shape == (16, 3)


def test_of_regression_the_mean_is_predicted():
    model = linear(1, dropout=0.5)
    variables = model.init(KEY, INPUTS)
    posterior = mc_dropout(model, 7, combine=combine_gaussians)
    samples = posterior.sample(KEY, variables, INPUTS).logits
    found = posterior.predict(KEY, variables, INPUTS).logits
    np.testing.assert_allclose(found, np.asarray(samples).mean(0), rtol=1e-5)
    with pytest.raises(ValueError, match="combine=combine_gaussians"):
        mc_dropout(model, 7).predict(KEY, variables, INPUTS)


def test_masks_of_a_network_without_dropout_are_refused_from_shapes():
    posterior = mc_dropout(linear(3), 5)
    with pytest.raises(ValueError, match="do not depend on the key"):
        jax.eval_shape(posterior.sample, KEY, linear(3).init(KEY, INPUTS), INPUTS)


def test_the_number_of_draws_is_checked():
    with pytest.raises(ValueError, match="expected 4 networks"):
        drawn_parameters(MODEL, 4).sample(KEY, several(KEY), INPUTS)
    with pytest.raises(ValueError, match="S, N"):
        wrong = drawn_functions(waves, 4, network=lambda state, x: x)
        wrong.sample(KEY, {}, INPUTS)
