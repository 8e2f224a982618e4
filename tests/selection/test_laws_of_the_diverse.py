"""What these strategies owe everybody: picks distinct, available and repeatable."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import View, strategy
from tests.cases_picks import MASKS, NUM_ROWS, masks, mesh_of

NAMES = ("alfa_mix", "cdal", "clue", "cluster_margin", "drop_query", "vessal")
NUM_DIMS, NUM_CLASSES, BATCH_SIZE = 5, 4, 6

by_name = pytest.mark.parametrize("name", NAMES)


def pool(kind="normal", mask="some_labelled", num_rows=NUM_ROWS):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(num_rows, NUM_DIMS))
    features = {
        "normal": features,
        "duplicates": np.repeat(features[:5], num_rows // 5, axis=0),
        "all_equal": np.full_like(features, 0.3),
        "all_zero": np.zeros_like(features),
        "one_far": np.where(np.arange(num_rows)[:, None] == 7, 1e6, features),
        "one_hot": features,
    }[kind]
    logits = features @ rng.normal(size=(NUM_DIMS, NUM_CLASSES))
    if kind == "one_hot":
        is_best = logits == logits.max(axis=-1, keepdims=True)
        logits = np.where(is_best, 0, -np.inf)
    is_available, is_labelled = map(jnp.asarray, masks(mask, num_rows))
    answers = rng.integers(-1, NUM_CLASSES, num_rows)
    labels = jnp.asarray(np.where(is_labelled, answers, -1), jnp.int32)
    logits, features = jnp.float32(logits), jnp.float32(features)
    return View(
        is_available, is_labelled, labels=labels, logits=logits, features=features
    )


@functools.cache
def compiled(name, batch_size=BATCH_SIZE):
    select = strategy(name).select
    return jax.jit(lambda key, view: select(key, view, batch_size))


def check_laws(selection, is_available, batch_size=BATCH_SIZE):
    indices, scores, is_valid = map(np.asarray, selection)
    expected = min(batch_size, int(is_available.sum()))
    assert indices.shape == scores.shape == is_valid.shape == (batch_size,)
    assert indices.dtype == np.int32
    np.testing.assert_array_equal(is_valid, np.arange(batch_size) < expected)
    assert len(set(indices[is_valid].tolist())) == expected
    assert np.asarray(is_available)[indices[is_valid]].all()
    assert (indices[~is_valid] == len(is_available)).all()
    assert np.isfinite(scores[is_valid]).all()
    assert (scores[~is_valid] == -np.inf).all()


@by_name
def test_picks_are_distinct_and_available_in_any_pool(name):
    for mask in MASKS:
        for kind in ("normal", "all_equal"):
            view = pool(kind, mask)
            check_laws(compiled(name)(jax.random.key(1), view), view.is_available)
    for kind in ("duplicates", "all_zero", "one_far", "one_hot"):
        view = pool(kind)
        check_laws(compiled(name)(jax.random.key(2), view), view.is_available)


@by_name
def test_all_rows_of_half_precision(name):
    view = pool(mask="with_padding")
    view = view._replace(
        logits=view.logits.astype(jnp.bfloat16),
        features=view.features.astype(jnp.float16),
    )
    selection = compiled(name, NUM_ROWS)(jax.random.key(3), view)
    check_laws(selection, view.is_available, NUM_ROWS)


@by_name
def test_many_keys_at_once_pick_what_each_picks(name):
    view = pool()
    keys = jax.random.split(jax.random.key(4), 3)
    one = compiled(name)
    expected = np.stack([one(key, view).indices for key in keys])
    _, together = jax.lax.scan(
        lambda _, pair: (None, jax.vmap(one, (0, None))(pair, view)), None, keys[None]
    )
    np.testing.assert_array_equal(together.indices[0], expected)
    eager = strategy(name).select(keys[0], view, BATCH_SIZE)
    np.testing.assert_array_equal(eager.indices, expected[0])


@by_name
@pytest.mark.parametrize("num_devices", [4])
def test_devices_do_not_change_the_picks(name, num_devices):
    view = pool(num_rows=604)
    mesh = mesh_of(num_devices)
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("pool"))
    key = jax.random.key(5)
    alone = strategy(name).select(key, view, 12)
    sharded = strategy(name).select(key, jax.device_put(view, spread), 12)
    np.testing.assert_array_equal(sharded.indices, alone.indices)
