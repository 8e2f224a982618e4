"""LCMD, MaxDet and Frank-Wolfe pick what their papers' loops pick."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import Outer, frank_wolfe, lcmd
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
    assert found.indices.tolist() == [0, 5]


@pytest.mark.parametrize("selector", [lcmd, frank_wolfe])
def test_outer_products_are_taken_as_when_written_out(selector):
    rng = np.random.default_rng(0)
    a, h = rng.normal(size=(2, 40, 3)).astype(np.float32)
    is_available, is_labelled = masks("some_labelled")
    written = (a[:, :, None] * h[:, None]).reshape(40, 9)
    picks = [
        selector(jax.random.key(0), some, is_available, is_labelled, batch_size=9)
        for some in (Outer(jnp.asarray(a), jnp.asarray(h)), jnp.asarray(written))
    ]
    np.testing.assert_array_equal(picks[0].indices, picks[1].indices)
