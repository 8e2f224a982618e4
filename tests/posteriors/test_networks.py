"""Predictive samples: one mask per sample, whatever the chunks and devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.models import mlp
from jaxal.pools.mapping import map_rows
from jaxal.pools.mesh import pool_mesh
from jaxal.pools.pool import make_pool
from jaxal.posteriors.dropout import mc_dropout
from jaxal.posteriors.networks import deep_ensemble, deterministic
from tests.toys import DEVICE_COUNTS, linear

KEY = jax.random.key(0)


@pytest.mark.parametrize("model", [linear(3, dropout=0.5), mlp(3, dropout=0.5)])
def test_one_mask_for_the_whole_pool(model):
    posterior = mc_dropout(model, num_samples=6)
    row = jax.random.normal(KEY, (1, 16))
    variables = model.init(KEY, row)
    logits = posterior.sample(KEY, variables, jnp.tile(row, (5, 1))).logits
    # Equal rows are equal in every sample, and samples differ from each other.
    np.testing.assert_allclose(logits, jnp.tile(logits[:, :1], (1, 5, 1)), rtol=1e-5)
    assert float(jnp.std(logits, axis=0).min()) > 1e-4


@pytest.mark.parametrize("chunk_size", [1, 3, 8])
@pytest.mark.sharded
@pytest.mark.parametrize("devices", DEVICE_COUNTS)
def test_chunks_and_shards_do_not_change_a_sample(chunk_size, devices):
    model = linear(3, dropout=0.5)
    posterior = mc_dropout(model, num_samples=4)
    inputs = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    variables = model.init(KEY, jnp.asarray(inputs))
    mesh = pool_mesh(jax.devices()[:devices])

    def rows_first(rows):
        return jnp.moveaxis(posterior.sample(KEY, variables, rows).logits, 1, 0)

    pool = make_pool(inputs, mesh=mesh)
    found = map_rows(rows_first, pool.inputs, chunk_size=chunk_size, mesh=mesh)
    np.testing.assert_allclose(found, rows_first(jnp.asarray(inputs)), rtol=1e-5)


def test_dropout_averages_to_the_network():
    model = linear(3, dropout=0.5)
    posterior = mc_dropout(model, num_samples=4000)
    inputs = jnp.ones([1, 6])
    variables = model.init(KEY, inputs)
    logits = posterior.sample(KEY, variables, inputs).logits
    expected = posterior.network(variables, inputs).logits
    error = np.asarray(logits).std(0) / np.sqrt(4000)
    assert (np.abs(logits.mean(0) - expected) < 5 * error).all()


def test_ensemble_predicts_the_mean_of_its_probabilities():
    model = linear(3)
    posterior = deep_ensemble(model, members=4)
    inputs = jax.random.normal(KEY, (5, 2))
    keys = jax.random.split(KEY, 4)
    variables = jax.vmap(lambda k: model.init(k, inputs))(keys)
    samples = posterior.sample(KEY, variables, inputs).logits
    output = posterior.predict(KEY, variables, inputs)
    mean = jax.nn.softmax(samples).mean(0)
    np.testing.assert_allclose(jax.nn.softmax(output.logits), mean, rtol=1e-5)
    np.testing.assert_allclose(output.features, inputs)
    for i in range(4):
        member = jax.tree.map(lambda x, i=i: x[i], variables)
        expected = deterministic(model).network(member, inputs).logits
        np.testing.assert_allclose(samples[i], expected, rtol=1e-5)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="num_samples is 0"):
        mc_dropout(linear(2), 0)
    with pytest.raises(ValueError, match="deterministic"):
        deep_ensemble(linear(2), 1)
