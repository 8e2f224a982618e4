"""The last-layer Laplace posterior against explicit inverses and automatic Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.posteriors.laplace import (
    laplace_draws,
    laplace_logits,
    laplace_moments,
    laplace_posterior,
    laplace_probit,
    laplace_update,
)
from tests.reference import bayes as reference


def make(seed, num_rows=10, num_classes=3, width=4):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(num_rows, num_classes)).astype(np.float32)
    features = rng.normal(size=(num_rows, width)).astype(np.float32)
    return logits, features, rng.random(num_rows) < 0.5, rng.integers(0, 3, num_rows)


def covariance_of(posterior):
    factor = np.asarray(posterior.factor, np.float64)
    return factor @ factor.T


def test_covariance_is_the_inverse_hessian():
    for seed in range(10):
        logits, features, labelled, labels = make(seed)
        posterior = laplace_posterior(logits, features, labelled, prior_precision=0.7)
        rows = np.flatnonzero(labelled)
        precision = reference.laplace_precision(logits, features, rows, 0.7)
        inverse = np.linalg.inv(precision)
        np.testing.assert_allclose(covariance_of(posterior), inverse, atol=1e-5)

    def loss(flat):
        given = logits + features @ flat.reshape(3, 4).T
        losses = -jax.nn.log_softmax(given)[jnp.arange(10), labels]
        return (losses * labelled).sum() + 0.35 * (flat**2).sum()

    hessian = jax.hessian(loss)(jnp.zeros(12))
    np.testing.assert_allclose(hessian, precision, atol=1e-4)


def test_updating_equals_starting_anew():
    for seed in range(10):
        logits, features, labelled, _ = make(seed)
        new = ~labelled & (np.arange(10) % 2 == 0)
        posterior = laplace_posterior(logits, features, labelled)
        found = laplace_update(posterior, logits, features, new)
        anew = laplace_posterior(logits, features, labelled | new)
        np.testing.assert_allclose(covariance_of(found), covariance_of(anew), atol=1e-5)
        assert (found.shift == 0).all()


def test_a_labelled_row_moves_the_mean_by_a_newton_step():
    logits, features, labelled, labels = make(1)
    new = np.arange(10) == 3
    posterior = laplace_posterior(logits, features, labelled & ~new)
    for _ in range(2):
        shift = np.asarray(posterior.shift, np.float64)
        probs = reference.softmax(logits + features @ shift.T)
        precision = np.linalg.inv(covariance_of(posterior))
        precision += reference.fisher_matrix(probs[3], features[3].astype(np.float64))
        gradient = np.outer(np.eye(3)[labels[3]] - probs[3], features[3]).ravel()
        expected = shift + np.linalg.solve(precision, gradient).reshape(3, 4)
        posterior = laplace_update(posterior, logits, features, new, labels)
        np.testing.assert_allclose(posterior.shift, expected, atol=1e-5)


def test_moments_draws_and_probit_agree():
    logits, features, labelled, labels = make(2)
    posterior = laplace_posterior(logits, features, labelled)
    posterior = laplace_update(posterior, logits, features, ~labelled, labels)
    mean, covariance = laplace_moments(posterior, logits, features)
    whole = covariance_of(posterior)
    for n in range(10):
        jacobian = np.kron(np.eye(3), features[n].astype(np.float64))
        expected = jacobian @ whole @ jacobian.T
        np.testing.assert_allclose(covariance[n], expected, atol=1e-5)
    draws = laplace_draws(jax.random.key(0), posterior, 40_000)
    sampled = np.asarray(laplace_logits(draws, logits, features))
    np.testing.assert_allclose(sampled.mean(0), mean, atol=0.04)
    spread = sampled - sampled.mean(0)
    empirical = np.einsum("sbc,sbd->bcd", spread, spread) / 40_000
    np.testing.assert_allclose(empirical, covariance, atol=0.1)
    averaged = np.asarray(jax.nn.softmax(sampled)).mean(0)
    probit = np.exp(laplace_probit(posterior, logits, features))
    np.testing.assert_allclose(probit, averaged, atol=0.06)


def test_many_updates_stay_positive_and_one_hot_rows_teach_nothing():
    logits, features, _, _ = make(3)
    nobody, everybody = np.zeros(10, bool), np.ones(10, bool)
    prior = laplace_posterior(logits, features, nobody, prior_precision=1e-2)
    posterior = prior
    for _ in range(30):
        posterior = laplace_update(posterior, logits, 30 * features, everybody)
    eigenvalues = np.linalg.eigvalsh(covariance_of(posterior))
    assert eigenvalues.min() > -1e-6 and np.isfinite(posterior.factor).all()
    rows = np.tile(np.arange(10), 30)
    precision = reference.laplace_precision(logits, 30.0 * features, rows, 1e-2)
    expected = np.linalg.inv(precision)
    np.testing.assert_allclose(covariance_of(posterior), expected, rtol=0, atol=5e-2)
    certain = np.where(np.arange(3) == 1, 0.0, -np.inf) + np.zeros((10, 1))
    same = laplace_update(prior, certain.astype(np.float32), features, everybody)
    np.testing.assert_allclose(same.factor, prior.factor, atol=1e-6)


def test_vmap_equals_a_loop():
    pools = [make(seed)[:3] for seed in range(3)]
    columns = [jnp.stack(column) for column in zip(*pools, strict=True)]
    together = jax.vmap(laplace_posterior)(*columns)
    for i in range(3):
        alone = laplace_posterior(*(column[i] for column in columns))
        np.testing.assert_allclose(together.factor[i], alone.factor, atol=1e-6)


def test_refuses_rows_of_another_network():
    logits, features, labelled, _ = make(0)
    posterior = laplace_posterior(logits, features, labelled)
    with pytest.raises(ValueError, match="the network the posterior was made for"):
        laplace_moments(posterior, logits, features[:, :3])
