"""BALD and BatchBALD of a last layer drawn from its Laplace posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import Model, Output, View, laplace, make_pool, pool_mesh, strategy
from tests.reference import bayes, committee

KEY = jax.random.key(0)
NUM_ROWS = 12


def draws_of(structure, logits, features, is_labelled, **settings):
    """Samples `[S, N, C]` of a network that is a table of logits and features."""

    def apply(variables, rows, *, key=None, train=False):
        return Output(jnp.asarray(logits)[rows], jnp.asarray(features)[rows]), variables

    posterior = laplace(Model(lambda key, rows: {}, apply), structure, **settings)
    labels = np.where(is_labelled, 0, -1)
    mesh = pool_mesh(jax.devices()[:1])
    rows = jnp.arange(len(logits))
    state = posterior.fit(KEY, {}, make_pool(rows, labels, mesh=mesh))
    return posterior.sample(jax.random.fold_in(KEY, 1), state, rows).logits


def picks(name, samples, is_labelled, size):
    known = jnp.asarray(is_labelled)
    return strategy(name).select(KEY, View(~known, known, samples=samples), size)


@pytest.mark.parametrize(
    ("structure", "precision"),
    [
        ("full", bayes.laplace_precision),
        ("kronecker", committee.kronecker_precision),
    ],
)
def test_bald_is_that_of_the_gaussian_around_the_layer(structure, precision):
    rng, size = np.random.default_rng(5), 20_000
    features = rng.normal(size=(NUM_ROWS, 3)).astype(np.float32)
    logits = (features @ rng.normal(size=(3, 3))).astype(np.float32)
    is_labelled = np.arange(NUM_ROWS) % 4 == 0
    inputs = np.concatenate([features, np.ones((NUM_ROWS, 1))], axis=1)
    wide = logits.astype(np.float64)
    matrix = precision(wide, inputs, np.flatnonzero(is_labelled), 0.5)
    probs = bayes.softmax(committee.laplace_samples(rng, wide, inputs, matrix, size))
    mean = probs.mean(0)
    inside = -(probs * np.log(np.maximum(probs, 1e-300))).sum(-1).mean(0)
    worth = -(mean * np.log(mean)).sum(-1) - inside
    settings = {"num_samples": size, "prior_precision": 0.5}
    samples = draws_of(structure, logits, features, is_labelled, **settings)
    found = picks("bald", samples, is_labelled, 5)
    assert found.indices[:3].tolist() == committee.best(worth, ~is_labelled, 3)
    np.testing.assert_allclose(found.scores, worth[found.indices], atol=0.01)


@pytest.mark.parametrize("structure", ["full", "kronecker"])
def test_the_labelled_row_says_what_there_is_along_its_own_direction(structure):
    features = np.array([[3.0, 0], [0, 3], [2, 0], [9, 0]], np.float32)
    is_labelled = np.arange(4) == 3
    logits = np.tile(np.float32([0.1, 0.0]), (4, 1))
    samples = draws_of(structure, logits, features, is_labelled, num_samples=100)
    assert picks("bald", samples, is_labelled, 1).indices.tolist() == [1]


def test_batch_bald_does_not_buy_one_direction_twice():
    lines = 2 * np.array([[1.0, 0], [1, 0], [0, 1]], np.float32)
    logits, nobody = np.zeros((3, 2), np.float32), np.zeros(3, bool)
    settings = {"num_samples": 400, "bias": False}
    samples = draws_of("kronecker", logits, lines, nobody, **settings)
    found = picks("batch_bald", samples, nobody, 2)
    assert 2 in found.indices.tolist()
    assert (np.diff(found.scores) < 1e-5).all()
