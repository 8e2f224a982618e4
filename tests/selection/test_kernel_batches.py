"""LCMD, MaxDet and Frank-Wolfe pick what their papers' loops pick."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import Outer, frank_wolfe, lcmd, max_det
from tests.cases_picks import masks
from tests.reference import kernels as reference

KINDS = ("some_labelled", "none_labelled", "with_padding")
NUM_DIMS = 12


def rows(seed, num_rows=40, num_dims=NUM_DIMS):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, num_dims)) * 2
    x = centres[rng.integers(0, 4, num_rows)] + rng.normal(size=(num_rows, num_dims))
    return x.astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_lcmd_is_the_sequential_algorithm(kind):
    is_available, is_labelled = masks(kind)
    for seed in range(10):
        x = rows(seed)
        found = lcmd(jax.random.key(0), x, is_available, is_labelled, batch_size=20)
        expected = reference.lcmd(x, is_available, is_labelled, 20)
        assert found.indices.tolist() == expected


def test_lcmd_prefers_the_cluster_with_most_in_it():
    # One row far from the right centre, five rows not as far from the left one.
    x = jnp.array([[0.0], [2.0], [2.1], [2.2], [2.3], [2.4], [20.0], [23.0]])
    is_labelled = jnp.array([1, 0, 0, 0, 0, 0, 1, 0], bool)
    found = lcmd(jax.random.key(0), x, ~is_labelled, is_labelled, batch_size=2)
    assert found.indices.tolist() == [5, 7]
    np.testing.assert_allclose(found.scores, [2.4**2, 9.0], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_frank_wolfe_is_the_sequential_algorithm(kind):
    is_available, is_labelled = masks(kind)
    for seed in range(10):
        x = rows(seed)
        found = frank_wolfe(
            jax.random.key(0), x, is_available, is_labelled, batch_size=20
        )
        expected = reference.frank_wolfe(x, is_available, 20)
        assert found.indices.tolist() == expected


def test_frank_wolfe_takes_one_row_of_each_direction():
    x = jnp.concatenate(
        [jnp.tile(jnp.eye(3)[i], (n, 1)) for i, n in ((0, 5), (1, 3), (2, 1))]
    )
    found = frank_wolfe(jax.random.key(0), x, jnp.ones(9, bool), batch_size=2)
    first, second = found.indices.tolist()
    assert first < 5 <= second < 8  # equal rows are drawn


@pytest.mark.parametrize("kind", KINDS)
def test_max_det_is_the_sequential_algorithm(kind):
    is_available, is_labelled = masks(kind)
    for seed in range(6):
        x = rows(seed)
        found = max_det(
            jax.random.key(0), x, is_available, is_labelled, batch_size=20, noise=0.5
        )
        picks, variances = reference.max_det(x, is_available, is_labelled, 20, 0.5)
        assert found.indices.tolist() == picks
        np.testing.assert_allclose(found.scores, variances, rtol=2e-3)


def test_max_det_without_noise_ends_where_the_rank_does():
    x = jnp.asarray(rows(0)[:, :3])
    free = jnp.ones(40, bool)
    found = max_det(jax.random.key(0), x, free, batch_size=6, noise=0.0)
    expected, variances = reference.max_det(x, np.ones(40, bool), np.zeros(40), 3, 0.0)
    assert found.indices[:3].tolist() == expected
    np.testing.assert_allclose(found.scores[:3], variances, rtol=1e-3)
    assert (np.asarray(found.scores[3:]) == 0).all()
    assert len(set(found.indices.tolist())) == 6


def test_max_det_takes_the_longest_then_what_is_orthogonal():
    x = jnp.array([[3.0, 0.0], [2.9, 0.1], [0.0, 1.0], [0.0, 0.9]])
    found = max_det(jax.random.key(0), x, jnp.ones(4, bool), batch_size=2)
    assert found.indices.tolist() == [0, 2]
    is_labelled = jnp.array([True, False, False, False])
    found = max_det(jax.random.key(0), x, ~is_labelled, is_labelled, batch_size=1)
    assert found.indices.tolist() == [2]


def test_max_det_of_labelled_rows_wants_them_written_out():
    free = jnp.ones(4, bool)
    with pytest.raises(TypeError, match="random_projection"):
        some = Outer(jnp.ones([4, 2]), jnp.ones([4, 2]))
        max_det(jax.random.key(0), some, free, ~free, batch_size=1)


@pytest.mark.parametrize("selector", [lcmd, frank_wolfe, max_det])
def test_outer_products_are_taken_as_when_written_out(selector):
    rng = np.random.default_rng(0)
    a, h = rng.normal(size=(2, 40, 3)).astype(np.float32)
    is_available, is_labelled = masks("some_labelled")
    known = None if selector is max_det else is_labelled
    written = (a[:, :, None] * h[:, None]).reshape(40, 9)
    picks = [
        selector(jax.random.key(0), some, is_available, known, batch_size=9)
        for some in (Outer(jnp.asarray(a), jnp.asarray(h)), jnp.asarray(written))
    ]
    np.testing.assert_array_equal(picks[0].indices, picks[1].indices)
