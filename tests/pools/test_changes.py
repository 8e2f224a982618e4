"""Pools live: answers, corrections, rows that go and rows that come."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import correct, extend, forget, make_pool, pool_mesh, reveal, withdraw
from jaxal.pools.changes import wait_for
from jaxal.pools.pool import regression_pool
from tests.toys import DEVICE_COUNTS

LABELS = np.array([0, -1, 2, -1, 1, -1])


def a_pool(devices=1, **settings):
    mesh = pool_mesh(jax.devices()[:devices])
    inputs = {"x": np.arange(12.0, dtype=np.float32).reshape(6, 2), "n": np.arange(6)}
    return make_pool(inputs, LABELS, mesh=mesh, **settings)


CHANGES = {
    "reveal": (lambda p: reveal(p, jnp.array([3, 1]), jnp.array([2, -1])), {3: 2}),
    "correct": (lambda p: correct(p, jnp.array([2, 0]), jnp.array([1, -1])), {2: 1}),
    "forget": (lambda p: forget(p, jnp.array([4])), {4: -1}),
    "withdraw": (lambda p: withdraw(p, jnp.array([4, 1])), {4: -1}),
}


@pytest.mark.sharded
@pytest.mark.parametrize("devices", DEVICE_COUNTS)
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_the_same_in_jit_and_on_devices(name, devices):
    change, differing = CHANGES[name]
    pool = a_pool(devices)
    expected = {**dict(enumerate(LABELS)), **differing}
    for found in (change(pool), jax.jit(change)(pool)):
        assert found.labels.tolist()[:6] == list(expected.values())
        np.testing.assert_array_equal(found.is_labelled, found.labels >= 0)
        assert found.labels.sharding.is_equivalent_to(pool.labels.sharding, 1)
        gone = [1, 4] if name == "withdraw" else []
        assert np.flatnonzero(~found.is_valid[:6]).tolist() == gone
        assert not found.is_available[
            jnp.array([*gone, 6 % found.labels.size])
        ].any() or (not gone)


@pytest.mark.sharded
@pytest.mark.parametrize("devices", DEVICE_COUNTS)
def test_rows_that_come_take_spare_places(devices):
    pool = a_pool(devices, capacity=11)
    size = pool.labels.shape[0]
    assert size == -(-11 // devices) * devices and int(pool.is_valid.sum()) == 6
    pool = withdraw(pool, [5])  # its place is not spare
    new = {"x": np.full([3, 2], 7, np.float32), "n": np.array([10, 11, 12])}
    for grow in (extend, jax.jit(extend)):
        found, rows = grow(pool, new, np.array([-1, 1, -1]))
        assert rows.tolist() == [6, 7, 8]
        assert found.inputs["n"].tolist()[:9] == [0, 1, 2, 3, 4, 5, 10, 11, 12]
        assert found.labels.tolist()[:9] == [*LABELS.tolist(), -1, 1, -1]
        assert np.flatnonzero(found.is_available).tolist() == [1, 3, 6, 8]
        for old, leaf in zip(*map(jax.tree.leaves, (pool, found)), strict=True):
            assert leaf.dtype == old.dtype
            assert leaf.sharding.is_equivalent_to(old.sharding, old.ndim)
    more, _ = extend(found, jax.tree.map(lambda x: x[:2], new))
    assert int(more.is_spare.sum()) == size - 11


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: reveal(p, [-1], [0]), r"names \[-1\], expected rows 0 to"),
        (lambda p: reveal(p, [6], [0]), r"names \[6\]"),
        (lambda p: reveal(p, [1, 1, 3], [0, 0, 1]), r"\[1\] more than once"),
        (lambda p: reveal(p, [1.0], [0]), "dtype float"),
        (lambda p: reveal(p, [1, 3], [0]), r"shape \[1\], expected \[2\]"),
        (lambda p: reveal(p, [1], [-5]), r"holds \[-5\]"),
        (lambda p: reveal(p, [1], [2**40]), r"holds \[1099511627776\]"),
        (lambda p: reveal(p, [1], ["cat"]), "label_names"),
        (lambda p: reveal(p, [1], [True]), "dtype bool"),
        (lambda p: correct(p, [0, 2], [1]), r"shape \[1\], expected \[2\]"),
        (lambda p: correct(p, [0], [-7]), r"holds \[-7\]"),
        (lambda p: withdraw(p, {1}), "dtype object"),
        (lambda p: reveal(p, [0, 1], [0, 0]), r"Rows \[0\] are labelled already"),
        (lambda p: reveal(withdraw(p, [1]), [1], [0]), r"Rows \[1\] are .* withdrawn"),
        (lambda p: correct(p, [1], [0]), r"Rows \[1\] have no label"),
        (lambda p: forget(p, [3]), r"Rows \[3\] have no label"),
        (lambda p: forget(p, [-6]), r"names \[-6\]"),
        (lambda p: withdraw(withdraw(p, [3]), [3]), r"Rows \[3\] are withdrawn"),
        (lambda p: extend(p, p.inputs), "6 rows arrived, and the pool has room for 0"),
        (lambda p: extend(p, {"x": p.inputs["x"]}), "a dict of 'x', the pool's a dict"),
        (lambda p: extend(p, {**p.inputs, "n": np.zeros(6)}), r"inputs\['n'\] has"),
        (lambda p: extend(p, {**p.inputs, "x": np.zeros([6, 3])}), r"\['x'\] has"),
    ],
)
def test_rows_that_are_none_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change(a_pool())


@pytest.mark.parametrize(
    ("rows", "labels", "expected"),
    [
        ([-1, 6, 99], [1, 1, 1], {}),
        ([1, 1, 3], [0, 1, 2], {3: 2}),
        ([3, 1, 1], [2, 0, 0], {3: 2}),
        ([0, 5], [2, 2], {5: 2}),
    ],
)
def test_traced_rows_that_are_none_change_nothing(rows, labels, expected):
    pool = a_pool()
    found = jax.jit(reveal)(pool, jnp.array(rows), jnp.array(labels))
    want = {**dict(enumerate(LABELS)), **expected}
    assert found.labels.tolist() == list(want.values())
    np.testing.assert_array_equal(found.is_labelled, found.labels >= 0)


def test_nothing_may_be_said_and_nobody_come():
    pool = a_pool(capacity=8)
    found, rows = extend(pool, jax.tree.map(lambda x: x[:0], pool.inputs), [])
    found = forget(withdraw(correct(reveal(found, [], []), [], []), []), [])
    assert rows.shape == (0,)
    for old, new in zip(pool[1:], found[1:], strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_pool_that_is_known_grows_where_the_rest_is_traced():
    pool = a_pool(capacity=8)
    new = jax.tree.map(lambda x: x[:2], pool.inputs)
    assert jax.jit(lambda new: extend(pool, new)[1])(new).tolist() == [6, 7]
    labels = jnp.array([1, -5])
    found = jax.jit(lambda labels: reveal(pool, [1, 3], labels))(labels)
    assert found.labels[:6].tolist() == [0, 1, 2, -1, 1, -1]


def test_a_pool_without_room_says_how_to_have_some():
    with pytest.raises(ValueError, match="at least the 6 rows"):
        a_pool(capacity=5)
    full, _ = extend(a_pool(capacity=7), jax.tree.map(lambda x: x[:1], a_pool().inputs))
    with pytest.raises(ValueError, match="make_pool"):
        extend(full, jax.tree.map(lambda x: x[:1], full.inputs))


def test_traced_rows_without_a_place_are_dropped():
    pool = a_pool(capacity=7)
    two = jax.tree.map(lambda x: x[:2], pool.inputs)
    found, rows = jax.jit(extend)(pool, two, jnp.array([1, 2]))
    assert rows.tolist() == [6, 7] and found.labels.tolist() == [*LABELS.tolist(), 1]


def test_changes_under_vmap_and_scan_over_pools():
    pool = a_pool()._replace(inputs=None)
    rows = jnp.array([[1, 3], [5, 1]])
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), pool)
    found = jax.vmap(lambda p, r: reveal(p, r, jnp.array([1, 1])))(stacked, rows)
    assert found.is_labelled.sum(-1).tolist() == [5, 5]
    last, _ = jax.lax.scan(lambda p, r: (withdraw(p, r[:1]), None), pool, rows)
    assert np.flatnonzero(last.is_valid).tolist() == [0, 2, 3, 4]


def test_rows_that_are_waited_for_are_not_available():
    pool = wait_for(a_pool(), jnp.array([1, 3, -1]), jnp.array([True, True, True]))
    assert np.flatnonzero(pool.is_available).tolist() == [5]
    pool = reveal(pool, [3, 1], [-1, 0])  # one is not answered, and may be asked again
    assert np.flatnonzero(pool.is_available).tolist() == [3, 5]
    gone = withdraw(wait_for(a_pool(), jnp.array([1]), True), [1])
    assert not gone.is_pending.any()


def test_real_numbers_live_too():
    pool = regression_pool(np.zeros([3, 1]), [0.5, np.nan, np.nan], capacity=4)
    pool = correct(reveal(pool, [1], [2.5]), [0], [0.25])
    pool, _ = extend(forget(pool, [1]), np.ones([1, 1], np.float32), [4.0])
    np.testing.assert_array_equal(pool.labels[:4], [0.25, np.nan, np.nan, 4.0])
    for labels, message in (([1], "expected real numbers"), ([1e300], "infinity")):
        with pytest.raises(ValueError, match=message):
            reveal(pool, [1], labels)


def test_another_number_may_stand_for_no_label():
    labels = np.full(6, 255, np.uint8)
    labels[2] = 1
    pool = make_pool(np.zeros([6, 1]), labels, unlabelled=255)
    assert pool.labels.tolist()[:6] == [-1, -1, 1, -1, -1, -1]
    assert int(pool.is_labelled.sum()) == 1
