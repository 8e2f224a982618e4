"""Neighbours and degrees against float64 loops over pairs."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.selection import nearest_neighbours, radius_degrees
from tests.cases_picks import mesh_of
from tests.reference import coverage as reference

NUM_ROWS = 303  # more than a tile, and no multiple of one


def pool(seed):
    """Few places, so that ties and duplicates are the rule; integers are exact."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 5, size=(NUM_ROWS, 3)).astype(np.float32)
    is_used = rng.random(NUM_ROWS) < 0.8
    groups = rng.integers(-1, 4, size=NUM_ROWS)
    return x, is_used, groups


def check_neighbours(x, is_used, groups, mesh=None):
    found = nearest_neighbours(
        x,
        jnp.asarray(is_used),
        num_neighbours=5,
        groups=jnp.asarray(groups),
        num_groups=4,
        mesh=mesh,
    )
    is_used = is_used & (groups >= 0)
    indices, distances = reference.nearest_neighbours(x, is_used, 5, groups)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)


def test_neighbours_are_those_of_the_loop_ties_included():
    for seed in range(12):
        check_neighbours(*pool(seed))


def test_a_group_too_small_and_an_empty_pool():
    x, is_used, groups = pool(0)
    groups[groups == 2] = 1
    groups[[5, 9]] = 2
    check_neighbours(x, is_used, groups)
    check_neighbours(x, np.zeros(NUM_ROWS, bool), groups)


def test_degrees_are_those_of_the_loop():
    for seed in range(12):
        x, is_used, _ = pool(seed)
        for radius in (0.0, 3.0, 4.5, 100.0):
            found = radius_degrees(x, radius, jnp.asarray(is_used))
            expected = reference.radius_degrees(x, radius, is_used)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.sharded
def test_devices_change_nothing():
    x, is_used, groups = pool(1)
    check_neighbours(x, is_used, groups, mesh_of(4))
    found = radius_degrees(x, 3.0, jnp.asarray(is_used), mesh=mesh_of(4))
    np.testing.assert_array_equal(found, reference.radius_degrees(x, 3.0, is_used))


def test_refusals():
    x = jnp.zeros((4, 2))
    with pytest.raises(ValueError, match="Ask for fewer neighbours"):
        nearest_neighbours(x, num_neighbours=5)
    with pytest.raises(ValueError, match="number of each row's group"):
        nearest_neighbours(x, num_neighbours=1, groups=jnp.zeros(4))
