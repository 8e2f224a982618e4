"""The last-layer Laplace posterior against explicit inverses and automatic Hessians."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.curvature import softmax_curvature
from jaxal.posteriors.laplace import draw_full, full_posterior, laplace_logits
from tests.reference import bayes as reference


def make(seed, num_rows=10, num_classes=3, width=4):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(num_rows, num_classes)).astype(np.float32)
    features = rng.normal(size=(num_rows, width)).astype(np.float32)
    return logits, features, rng.random(num_rows) < 0.5, rng.integers(0, 3, num_rows)


def posterior_of(logits, features, is_labelled, prior=0.7):
    probs = jax.nn.softmax(jnp.asarray(logits))
    curvature = softmax_curvature(probs, *map(jnp.asarray, (features, is_labelled)))
    return full_posterior(curvature, (3, 4), prior)


def covariance_of(factor):
    flat = np.asarray(factor, np.float64).reshape(12, 12)
    return flat @ flat.T


def test_covariance_is_the_inverse_hessian():
    for seed in range(10):
        logits, features, labelled, labels = make(seed)
        found = covariance_of(posterior_of(logits, features, labelled))
        rows = np.flatnonzero(labelled)
        precision = reference.laplace_precision(logits, features, rows, 0.7)
        np.testing.assert_allclose(found, np.linalg.inv(precision), atol=1e-5)

    def loss(flat):
        given = logits + features @ flat.reshape(3, 4).T
        losses = -jax.nn.log_softmax(given)[jnp.arange(10), labels]
        return (losses * labelled).sum() + 0.35 * (flat**2).sum()

    hessian = jax.hessian(loss)(jnp.zeros(12))
    np.testing.assert_allclose(hessian, precision, atol=1e-4)


def test_draws_have_the_covariance_of_the_logits():
    logits, features, labelled, _ = make(2)
    posterior = posterior_of(logits, features, labelled)
    draws = draw_full(jax.random.key(0), posterior, 40_000)
    moved = np.asarray(laplace_logits(draws, logits, features)) - logits
    np.testing.assert_allclose(moved.mean(0), 0, atol=0.04)
    found = np.einsum("sbc,sbd->bcd", moved, moved) / 40_000
    for n in range(10):
        jacobian = np.kron(np.eye(3), features[n].astype(np.float64))
        expected = jacobian @ covariance_of(posterior) @ jacobian.T
        np.testing.assert_allclose(found[n], expected, atol=0.1)


def test_one_hot_rows_teach_nothing():
    _, features, _, _ = make(3)
    certain = np.where(np.arange(3) == 1, 0.0, -np.inf) + np.zeros((10, 1))
    factor = posterior_of(certain.astype(np.float32), features, np.ones(10, bool), 4.0)
    np.testing.assert_allclose(covariance_of(factor), np.eye(12) / 4, atol=1e-6)


def test_vmap_equals_a_loop():
    pools = [make(seed)[:3] for seed in range(3)]
    columns = [jnp.stack(column) for column in zip(*pools, strict=True)]
    together = jax.vmap(posterior_of)(*columns)
    for i in range(3):
        alone = posterior_of(*(column[i] for column in columns))
        np.testing.assert_allclose(together[i], alone, atol=1e-6)
