"""Expected error reduction against retraining with a written-out Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.scores.error_reduction import expected_error_reduction
from tests.reference import bayes as reference


def make(seed, num_rows=9, num_classes=3, width=2):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_rows, width)).astype(np.float32)
    weights = rng.normal(size=(width, num_classes)).astype(np.float32)
    labels = rng.integers(0, num_classes, num_rows)
    return features @ weights, features, labels, rng.random(num_rows) < 0.4


@pytest.mark.parametrize(
    ("loss", "num_steps"), [("log", 1), ("zero_one", 1), ("log", 3)]
)
def test_equals_retraining(loss, num_steps):
    for seed in range(10):
        pool, targets = make(seed), np.array([0, 3, 4, 8])
        found = expected_error_reduction(
            *pool,
            targets=targets,
            loss=loss,
            num_steps=num_steps,
            prior_precision=0.5,
            chunk_size=4,
        )
        expected = reference.expected_error_reduction(
            *pool, targets, loss, 0.5, num_steps
        )
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_candidates_are_scored_as_in_the_whole_pool():
    pool, rows = make(1), jnp.array([7, 2, 2])
    whole = expected_error_reduction(*pool)
    some = expected_error_reduction(*pool, candidates=rows, chunk_size=2)
    np.testing.assert_allclose(some, whole[rows], atol=1e-6)


def test_one_hot_predictions_teach_nothing():
    _, features, labels, _ = make(2)
    certain = np.where(np.arange(3) == labels[:, None], 0.0, -np.inf)
    gain = expected_error_reduction(
        certain.astype(np.float32), features, labels, np.ones(9, bool)
    )
    np.testing.assert_allclose(gain, 0, atol=1e-6)


def test_vmap_equals_a_loop():
    columns = [jnp.stack(c) for c in zip(*(make(s) for s in range(2)), strict=True)]
    together = jax.vmap(expected_error_reduction)(*columns)
    alone = expected_error_reduction(*(column[1] for column in columns))
    np.testing.assert_allclose(together[1], alone, atol=1e-6)


def test_refusals_name_the_cure():
    pool = make(0)
    with pytest.raises(ValueError, match="expected one of"):
        expected_error_reduction(*pool, loss="hinge")
    with pytest.raises(TypeError, match="Pass row numbers"):
        expected_error_reduction(*pool, candidates=np.ones(9, bool))
