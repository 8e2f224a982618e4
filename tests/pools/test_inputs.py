"""Inputs of any shape: what is taken, what is refused, and that nothing is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse

from jaxal import (
    View,
    array_oracle,
    entropy,
    k_center,
    make_pool,
    regression_pool,
    reveal,
    strategy,
    stream_k_center,
    top_k,
)
from jaxal.pools.inputs import as_inputs, num_rows
from jaxal.pools.mapping import map_rows
from jaxal.pools.mesh import pool_mesh
from jaxal.pools.processes import make_pool_from_process_data
from jaxal.testing.numbers import in_64_bits
from tests.toys import DEVICE_COUNTS

KEY = jax.random.key(0)
STAMPS = 1.7e9 + np.arange(50.0)


class Table:
    """As a DataFrame, that NumPy can read."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values


class Sparse:
    shape = (3, 3)

    def toarray(self):
        return np.eye(3)


@pytest.mark.parametrize(
    ("inputs", "dtype"),
    [
        ([[1, 2], [3, 4]], "int32"),
        (np.array([[2**31 - 1], [-(2**31)]]), "int32"),
        (Table(np.arange(6.0).reshape(3, 2)), "float32"),
        (np.random.default_rng(0).normal(size=(50, 2)), "float32"),
        (np.full([3, 2], 1.7e9 + 1), "float32"),  # what never changes tells nothing
        (jnp.ones([3, 1], jnp.bfloat16), "bfloat16"),
        (np.ones([3, 1], bool), "bool"),
        (np.array([[True, 1.5], [False, 2]], object), "float32"),  # a table's columns
        (np.arange(3, dtype=np.longdouble), "float32"),
        (np.ones([3, 8, 8, 3], np.uint8), "uint8"),
    ],
)
def test_what_numpy_reads_without_loss_is_taken(inputs, dtype):
    pool = make_pool(inputs)
    assert pool.inputs.dtype == dtype
    raw = np.asarray(inputs)
    found = np.asarray(pool.inputs[: raw.shape[0]], np.float64)
    np.testing.assert_allclose(found, raw.astype(np.float64), rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"a": np.zeros([4, 1]), "b": np.zeros([3, 1])}, r"inputs\['b'\] has 3 rows"),
        ({"a": np.zeros([4, 1]), "b": np.float32(1)}, r"inputs\['b'\] has shape \[\]"),
        ((np.zeros(2), np.array([0, np.nan])), r"1 of 2 rows of inputs\[1\] hold NaN"),
        ({"x": np.array(["a", "b"])}, r"inputs\['x'\] has dtype <U1, expected numbers"),
        (np.array([["a", 1.0]], object), "inputs holds str, expected numbers"),
        ({"x": np.zeros(1), "m": None}, r"inputs\['m'\] holds NoneType"),
        (jax.random.split(jax.random.key(0), 2), "dtype key<fry>, expected numbers"),
        ({}, "no arrays"),
        ({"x": np.zeros([0, 2])}, r"inputs\['x'\] has no rows"),
        ([[1, 2], [3]], "different lengths. Pad them"),
        (Sparse(), r"toarray\(\)"),
        ({"x": sparse.BCOO.fromdense(jnp.eye(3))}, "BCOO, expected an array"),
        (np.ma.masked_greater([[1.0], [9.0]], 5), "masked entries"),
        (np.array([[1.0], [np.nan * 1j]]), "1 of 2 rows of inputs hold NaN"),
        (np.array([1, 2**31]), "int64, held as int32"),
        (np.array([1, 2**63], np.uint64), "uint64, held as uint32"),
        (STAMPS[:, None], "float64, held as float32"),
        (np.stack([STAMPS * 0, STAMPS], -1), "Subtract the mean"),
        (np.array([[1e300], [0.0]]), "logarithms; or call.*jax_enable_x64"),
    ],
)
def test_what_would_be_lost_is_refused_with_its_name(inputs, message):
    with pytest.raises(ValueError, match=message):
        make_pool(inputs)
    if "no rows" not in message:  # a process may have none
        with pytest.raises(ValueError, match=message):
            make_pool_from_process_data(inputs, num_rows=4)


@pytest.mark.parametrize(
    "take",
    [
        lambda: make_pool(np.zeros((2, 1)), np.array([0, 2**40])),
        lambda: make_pool(np.zeros((2, 1)), np.array([0, 2**32 - 1], np.uint32)),
        lambda: make_pool_from_process_data(
            np.zeros((2, 1)), np.array([0, 2**40]), num_rows=2
        ),
        lambda: regression_pool(np.zeros((50, 1)), STAMPS),
        lambda: regression_pool(np.zeros((3, 1)), np.array([1e300, np.nan, 0])),
        lambda: array_oracle(STAMPS),
        lambda: array_oracle([0, 2**40]),
        lambda: reveal(make_pool(np.zeros((2, 1))), [0, 1], np.array([0, 2**40])),
        lambda: top_k(KEY, 1 + np.arange(50) * 1e-12, np.ones(50, bool), batch_size=2),
        lambda: k_center(KEY, STAMPS[:, None], [True] * 50, batch_size=2),
        lambda: stream_k_center(KEY, STAMPS[:, None], batch_size=2),
        lambda: entropy(np.stack([STAMPS, STAMPS + 1], -1)),
        lambda: strategy("coreset").select(
            KEY,
            View(jnp.ones(50, bool), jnp.zeros(50, bool), features=STAMPS[:, None]),
            2,
        ),
    ],
)
def test_no_number_is_narrowed_in_silence(take):
    said = "what tells rows apart would be lost|from 0 in int32|float32 has not"
    with pytest.raises(ValueError, match=f"{said}|expected classes 0 to 2147483646"):
        take()


def test_what_loses_nothing_is_taken_as_it_is():
    targets = np.r_[np.linspace(0, 1, 49), np.nan]
    pool = regression_pool(np.zeros((50, 1)), targets)
    np.testing.assert_array_equal(pool.labels[:50], targets.astype(np.float32))
    assert make_pool(np.zeros((2, 1), np.longdouble)).inputs.dtype == np.float32
    assert top_k(KEY, [1.0, 3.0], [True, True], batch_size=1).indices.tolist() == [1]
    with pytest.raises(ValueError, match="dtype key<fry>, expected numbers"):
        make_pool(jax.random.split(KEY, 3))


def test_a_masked_row_too_large_for_float32_changes_nothing():
    rows = np.random.default_rng(0).normal(size=(9, 2))
    free = np.arange(9) > 0
    plain = k_center(KEY, rows, free, batch_size=3).indices.tolist()
    rows[0] = 1e300
    assert k_center(KEY, rows, free, batch_size=3).indices.tolist() == plain


def test_64_bits_stay_where_they_are_wanted():
    with in_64_bits():
        pool = make_pool({"time": STAMPS, "id": np.array([2**40] * 50)})
        assert {leaf.dtype.name for leaf in jax.tree.leaves(pool.inputs)} == {
            "float64",
            "int64",
        }
        assert pool.inputs["time"][:50].tolist() == STAMPS.tolist()


@pytest.mark.sharded
@pytest.mark.parametrize("devices", DEVICE_COUNTS)
def test_every_leaf_is_padded_sharded_and_mapped(devices):
    mesh = pool_mesh(jax.devices()[:devices])
    tokens, mask = np.arange(39).reshape(13, 3), np.arange(39).reshape(13, 3) % 2 == 0
    pool = make_pool({"tokens": tokens, "mask": mask}, mesh=mesh)
    assert num_rows(pool.inputs) == -(-13 // devices) * devices
    for leaf in jax.tree.leaves(pool.inputs):
        assert len(leaf.sharding.device_set) == devices

    def fn(x):
        return {"sum": (x["tokens"] * x["mask"]).sum(-1), "same": x}

    found = map_rows(fn, pool.inputs, chunk_size=4, mesh=mesh)
    np.testing.assert_array_equal(found["sum"][:13], (tokens * mask).sum(-1))
    np.testing.assert_array_equal(found["same"]["mask"], pool.inputs["mask"])


def test_rows_that_are_told_apart_stay_apart():
    """Of what is rounded the worst that is taken has four digits of its spread."""
    for offset in (1e2, 1e3, 1e4):
        column = offset + np.random.default_rng(0).normal(size=(1000, 1))
        try:
            held = as_inputs(column)
        except ValueError:
            continue
        gap = np.abs(held.astype(np.float64) - column).max()
        assert held.dtype == np.float32 and gap <= 1e-4 * column.std()
