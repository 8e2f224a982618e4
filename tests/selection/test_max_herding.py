"""MaxHerding covers the pool as the sequential algorithm would."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import Outer, max_herding
from tests.cases_picks import masks, normal_rows
from tests.reference import kernels as reference

KINDS = ("some_labelled", "none_labelled", "with_padding", "few_left")


@pytest.mark.parametrize("kernel", ["rbf", "cosine", "linear"])
def test_picks_and_scores_are_those_of_the_sequential_algorithm(kernel):
    for seed in range(6):
        for kind in KINDS:
            is_available, is_labelled = masks(kind)
            x = normal_rows(seed)
            weights = np.random.default_rng(seed).uniform(size=len(x))
            found = max_herding(
                jax.random.key(seed),
                jnp.asarray(x),
                jnp.asarray(is_available),
                jnp.asarray(is_labelled),
                batch_size=3,
                weights=jnp.asarray(weights, jnp.float32),
                kernel=kernel,
                bandwidth=0.7,
            )
            picks, gains = reference.max_herding(
                x,
                is_available,
                is_labelled,
                min(3, is_available.sum()),
                weights,
                kernel=kernel,
                bandwidth=0.7,
            )
            num = int(np.sum(np.array(gains) > 1e-7))  # then rows are drawn
            assert found.indices.tolist()[:num] == picks[:num]
            np.testing.assert_allclose(found.scores[:num], gains[:num], rtol=1e-4)
            assert (np.asarray(found.scores[num : len(picks)]) == 0).all()


def test_many_blocks_give_the_picks_of_one_row_after_another():
    # 300 rows, so that blocks of 32 leave most rows with stale gains.
    x = normal_rows(3, 300)
    free, nobody = np.ones(300, bool), np.zeros(300, bool)
    k = reference.gram(*[reference.rows_of(x)] * 2, bandwidth=0.3)
    best, expected = np.zeros(300), []
    for _ in range(40):
        gains = np.maximum(k - best[:, None], 0).mean(0)
        gains[expected] = -np.inf
        expected.append(int(np.argmax(gains)))
        best = np.maximum(best, k[:, expected[-1]])
    found = max_herding(
        jax.random.key(0), x, free, nobody, batch_size=40, bandwidth=0.3
    )
    assert found.indices.tolist() == expected


def test_the_middle_of_the_largest_cluster_comes_first():
    x = jnp.array([[0.0], [0.1], [0.2], [9.0], [9.1], [50.0]])
    free = jnp.ones(6, bool)
    found = max_herding(jax.random.key(0), x, free, batch_size=3, is_normalized=False)
    first, second, third = found.indices.tolist()
    assert (first, third) == (1, 5) and second in (3, 4)


def test_targets_drawn_are_some_of_all_and_estimate_their_mean():
    x = jnp.asarray(normal_rows(5, 300))
    free = jnp.ones(300, bool)
    whole = max_herding(jax.random.key(0), x, free, batch_size=5)
    firsts = set()
    for seed in range(8):
        key = jax.random.key(seed)
        some = max_herding(key, x, free, batch_size=5, num_targets=100)
        assert len(set(some.indices.tolist())) == 5
        np.testing.assert_allclose(some.scores.sum(), whole.scores.sum(), rtol=0.1)
        firsts.add(int(some.indices[0]))
    assert len(firsts) > 1  # the draw does decide


def test_an_outer_product_is_covered_as_when_written_out():
    rng = np.random.default_rng(0)
    a, h = rng.normal(size=(2, 40, 3)).astype(np.float32)
    is_available, is_labelled = masks("some_labelled")
    written = (a[:, :, None] * h[:, None]).reshape(40, 9)
    key = jax.random.key(0)
    picks = [
        max_herding(key, rows, is_available, is_labelled, batch_size=9).indices
        for rows in (Outer(jnp.asarray(a), jnp.asarray(h)), jnp.asarray(written))
    ]
    np.testing.assert_array_equal(*picks)


def test_bandwidths_by_name():
    x = jnp.array([[0.0], [1.0], [3.0], [50.0]])
    free, is_labelled = jnp.array([0, 0, 1, 1], bool), jnp.array([1, 1, 0, 0], bool)

    def scores(bandwidth):
        return max_herding(
            jax.random.key(0),
            x,
            free,
            is_labelled,
            batch_size=2,
            bandwidth=bandwidth,
            is_normalized=False,
        ).scores

    np.testing.assert_array_equal(scores("nearest_labelled"), scores(1.0))
    # Distances 1, 2, 3, 47, 49, 50: the lower median.
    np.testing.assert_array_equal(scores("median"), scores(3.0))
    with pytest.raises(ValueError, match="nearest_labelled"):
        scores("mean")
    with pytest.raises(ValueError, match="rbf"):
        max_herding(jax.random.key(0), x, free, batch_size=1, kernel="rfb")
