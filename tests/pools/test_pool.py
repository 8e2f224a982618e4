"""Padding, sharding and the chunked map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxal.pools.changes import reveal
from jaxal.pools.mapping import map_rows, map_some_rows, row_buffers
from jaxal.pools.mesh import pool_mesh
from jaxal.pools.pool import make_pool, regression_pool
from tests.toys import DEVICE_COUNTS


@pytest.mark.parametrize("num_rows", [1, 4, 7, 13])
def test_pool_is_padded_to_the_mesh_and_padding_is_never_available(num_rows):
    pool = make_pool(np.ones([num_rows, 2], np.float32))
    size = pool_mesh().size
    assert pool.inputs.shape[0] % size == 0
    assert pool.inputs.shape[0] - num_rows < size
    assert int(pool.is_available.sum()) == num_rows
    assert not pool.is_available[num_rows:].any()
    assert len(pool.inputs.sharding.device_set) == size


def test_labels_that_are_known_are_labelled():
    pool = make_pool(np.zeros([3, 1]), np.array([2, -1, 0]))
    assert pool.is_labelled.tolist()[:3] == [True, False, True]
    assert pool.labels.tolist()[:3] == [2, -1, 0]


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.zeros([0, 2]), None, "at least"),
        (np.array([[np.nan], [1.0]]), None, "1 of 2 rows"),
        (np.zeros([2, 1]), np.array([0]), r"expected \[2\]"),
        (np.zeros([2, 1]), np.array([0, -2]), "-2"),
        (np.zeros([2, 1]), np.array([0, 2**40]), "holds 1099511627776"),
        (np.zeros([2, 1]), np.array([0.0, 1.0]), "integers"),
        (np.zeros([2, 1]), ["cat", "dog"], "label_names"),
    ],
)
def test_bad_pools_are_refused(inputs, labels, message):
    with pytest.raises(ValueError, match=message):
        make_pool(inputs, labels)


def test_targets_that_would_be_lost_are_refused():
    with pytest.raises(ValueError, match="targets holds 1 numbers that float32"):
        regression_pool(np.zeros([3, 1]), [1e300, 1.0, np.nan])


@pytest.mark.parametrize(
    ("name", "kind"), [("pool", AxisType.Explicit), ("data", AxisType.Auto)]
)
def test_a_mesh_of_another_kind_is_refused(name, kind):
    mesh = jax.make_mesh((1,), (name,), (kind,), devices=jax.devices()[:1])
    with pytest.raises(ValueError, match="'pool' of type Auto.*pool_mesh"):
        make_pool(np.zeros([3, 1]), mesh=mesh)


@pytest.mark.parametrize("unlabelled", [255, None])
def test_real_numbers_are_no_classes_whatever_stands_for_no_label(unlabelled):
    with pytest.raises(ValueError, match="dtype float64, expected integers"):
        make_pool(np.zeros([3, 1]), [0.5, 255.0, 2.0], unlabelled=unlabelled)


@pytest.mark.parametrize("chunk_size", [1, 3, 4, 12, 100])
@pytest.mark.sharded
@pytest.mark.parametrize("devices", DEVICE_COUNTS)
def test_map_rows_equals_the_function_whatever_the_chunks_and_devices(
    chunk_size, devices
):
    mesh = pool_mesh(jax.devices()[:devices])
    inputs = np.arange(48.0, dtype=np.float32).reshape(24, 2)
    pool = make_pool(inputs, mesh=mesh)

    def fn(rows):
        return {"sum": rows.sum(-1), "twice": 2 * rows}

    found = jax.jit(lambda x: map_rows(fn, x, chunk_size=chunk_size, mesh=mesh))(
        pool.inputs
    )
    np.testing.assert_array_equal(found["sum"], inputs.sum(-1))
    np.testing.assert_array_equal(found["twice"], 2 * inputs)
    assert len(found["sum"].sharding.device_set) == devices


def test_pieces_add_up_to_the_whole():
    mesh = pool_mesh()
    rows = make_pool(np.arange(40.0, dtype=np.float32)).inputs
    outputs = row_buffers(jnp.square, rows, chunk_size=3)
    for first, count in ((0, 1), (1, 2), (3, 1)):
        outputs = map_some_rows(
            jnp.square, rows, outputs, first, count, chunk_size=3, mesh=mesh
        )
    np.testing.assert_array_equal(outputs, np.arange(40.0) ** 2)


def test_reveal_ignores_invalid_and_unanswered_rows():
    pool = make_pool(np.zeros([5, 1]))
    rows, answers = jnp.array([1, 3, 4]), jnp.array([7, 8, -1])
    pool = reveal(pool, rows, answers, jnp.array([True, False, True]))
    assert pool.labels.tolist()[:5] == [-1, 7, -1, -1, -1]
    assert pool.is_labelled.tolist()[:5] == [False, True, False, False, False]
