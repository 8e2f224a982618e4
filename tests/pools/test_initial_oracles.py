"""Who is labelled first, and who answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.pools.initial import class_balanced_rows, random_rows
from jaxal.pools.oracles import array_oracle, noisy_oracle, reluctant_oracle

KEY = jax.random.key(0)


def test_random_rows_are_distinct_available_and_uniform():
    is_available = jnp.arange(12) % 3 != 0
    keys = jax.random.split(KEY, 2000)
    rows = jax.vmap(lambda k: random_rows(k, is_available, num_rows=4))(keys)
    assert bool(is_available[rows].all())
    assert all(len(set(r)) == 4 for r in np.asarray(rows).tolist())
    counts = np.bincount(np.asarray(rows).ravel(), minlength=12)[is_available]
    # 8 rows, each drawn in half of the 2,000 trials; 4 standard deviations.
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(2000 * 0.25)


def test_class_balanced_counts_differ_by_at_most_one():
    labels = jnp.asarray(np.random.default_rng(0).integers(0, 4, 60))
    is_available = jnp.arange(60) % 5 != 0
    for num_rows in (4, 7, 16):
        rows = class_balanced_rows(
            KEY, labels, is_available, num_rows=num_rows, num_classes=4
        )
        counts = np.bincount(labels[rows], minlength=4)
        assert counts.max() - counts.min() <= 1
        assert len(set(rows.tolist())) == num_rows
        assert bool(is_available[rows].all())


def test_a_class_that_runs_out_is_made_up_for_by_the_others():
    labels = jnp.array([0, 1, 1, 1, 1, 1])
    rows = class_balanced_rows(
        KEY, labels, jnp.ones(6, bool), num_rows=4, num_classes=2
    )
    assert np.bincount(labels[rows]).tolist() == [1, 3]


def test_noise_is_multi_class_and_has_its_rate():
    truth = jnp.asarray(np.random.default_rng(0).integers(0, 5, 20_000))
    rows = jnp.arange(20_000)
    answers = noisy_oracle(array_oracle(truth), 0.3, num_classes=5)(KEY, rows)
    shift = np.asarray((answers - truth) % 5)
    np.testing.assert_allclose((shift != 0).mean(), 0.3, atol=0.015)
    counts = np.bincount(shift[shift != 0], minlength=5)[1:]
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=0.03)


def test_refusals_stay_refused_through_noise():
    oracle = reluctant_oracle(array_oracle(jnp.zeros(1000, int)), 0.5)
    answers = noisy_oracle(oracle, 1.0, num_classes=3)(KEY, jnp.arange(1000))
    assert set(np.unique(answers)) == {-1, 1, 2}
    np.testing.assert_allclose((np.asarray(answers) == -1).mean(), 0.5, atol=0.07)


@pytest.mark.parametrize("bad", [-0.1, 1.1])
def test_probabilities_are_checked(bad):
    oracle = array_oracle(jnp.zeros(1, int))
    with pytest.raises(ValueError, match="probability"):
        noisy_oracle(oracle, bad, 3)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        reluctant_oracle(oracle, bad)


@pytest.mark.parametrize(
    ("labels", "message"),
    [(["a"], "label_names"), (np.eye(2, dtype=int), "shape"), ([2**40], "int32")],
)
def test_labels_that_would_be_lost_are_no_oracles(labels, message):
    with pytest.raises(ValueError, match=message):
        array_oracle(labels)
