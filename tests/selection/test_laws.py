"""What every selector must do, whatever it is given."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.selection import k_center, k_means_plus_plus
from tests.cases_picks import (
    MASKS,
    NUM_DIMS,
    NUM_ROWS,
    PICKS,
    POOLS,
    masks,
    mesh_of,
    normal_rows,
)
from tests.thinned import thinned

by_name = pytest.mark.parametrize("pick", PICKS, ids=lambda pick: pick.name)
few_by_name = pytest.mark.parametrize(
    "pick", thinned(PICKS, 8), ids=lambda pick: pick.name
)
deterministic = pytest.mark.parametrize(
    "pick",
    [pick for pick in PICKS if pick.is_deterministic],
    ids=lambda pick: pick.name,
)
BATCH_SIZE = 9


@functools.cache
def compiled(pick, batch_size=BATCH_SIZE):
    return jax.jit(functools.partial(pick.select, batch_size=batch_size))


def check_laws(selection, is_available, batch_size=BATCH_SIZE):
    indices, scores, is_valid = map(np.asarray, selection)
    expected = min(batch_size, int(is_available.sum()))
    assert indices.shape == scores.shape == is_valid.shape == (batch_size,)
    assert indices.dtype == np.int32 and is_valid.dtype == bool
    np.testing.assert_array_equal(is_valid, np.arange(batch_size) < expected)
    valid = indices[is_valid]
    assert len(set(valid.tolist())) == expected
    assert is_available[valid].all()
    assert (indices[~is_valid] == len(is_available)).all()
    assert not np.isnan(scores.astype(np.float32)).any()


@by_name
@pytest.mark.parametrize("kind", MASKS)
def test_picks_are_distinct_available_and_as_many_as_there_are(pick, kind):
    is_available, is_labelled = masks(kind)
    for name, x in POOLS.items():
        if x.dtype == np.float32:  # one compilation serves them all
            arguments = (
                jnp.asarray(x),
                jnp.asarray(is_available),
                jnp.asarray(is_labelled),
            )
            selection = compiled(pick)(jax.random.key(1), *arguments)
            try:
                check_laws(selection, is_available)
            except AssertionError as error:
                raise AssertionError(f"in pool {name}") from error


@few_by_name
def test_half_precision_rows_are_taken(pick):
    is_available, is_labelled = masks("some_labelled")
    x = jnp.asarray(POOLS["bfloat16"])
    check_laws(
        compiled(pick)(jax.random.key(1), x, is_available, is_labelled), is_available
    )


@few_by_name
def test_all_rows(pick):
    is_available, is_labelled = masks("none_labelled")
    select = compiled(pick, NUM_ROWS)
    selection = select(jax.random.key(2), normal_rows(), is_available, is_labelled)
    check_laws(selection, is_available, NUM_ROWS)


@pytest.mark.parametrize("pick", PICKS[-2:], ids=lambda pick: pick.name)
def test_one_pick(pick):
    is_available, is_labelled = masks("none_labelled")
    selection = compiled(pick, 1)(
        jax.random.key(2), normal_rows(), is_available, is_labelled
    )
    check_laws(selection, is_available, 1)


@by_name
@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(data=st.data())
def test_any_pool(pick, data):
    # Few values, so that duplicates and ties are the rule.
    numbers = st.sampled_from([-2.0, 0.0, 0.5, 1.0, 1000.0])
    row = st.lists(numbers, min_size=NUM_DIMS, max_size=NUM_DIMS)
    x = np.array(data.draw(st.lists(row, min_size=NUM_ROWS, max_size=NUM_ROWS)))
    state = data.draw(st.lists(st.integers(0, 2), min_size=NUM_ROWS, max_size=NUM_ROWS))
    is_available, is_labelled = np.array(state) == 0, np.array(state) == 1
    key = jax.random.key(data.draw(st.integers(0, 100)))
    selection = compiled(pick)(key, x.astype(np.float32), is_available, is_labelled)
    check_laws(selection, is_available)


@deterministic
def test_permuting_the_pool_permutes_the_picks(pick):
    order = np.random.default_rng(3).permutation(NUM_ROWS)
    x = normal_rows(4)
    is_available, is_labelled = masks("some_labelled")
    key = jax.random.key(5)
    plain = compiled(pick)(key, x, is_available, is_labelled)
    moved = compiled(pick)(key, x[order], is_available[order], is_labelled[order])
    np.testing.assert_array_equal(order[moved.indices], plain.indices)


@deterministic
def test_the_key_of_a_deterministic_selector_changes_nothing(pick):
    is_available, is_labelled = masks("some_labelled")
    picks = [
        compiled(pick)(jax.random.key(seed), normal_rows(), is_available, is_labelled)
        for seed in range(3)
    ]
    np.testing.assert_array_equal(picks[0].indices, picks[1].indices)
    np.testing.assert_array_equal(picks[0].indices, picks[2].indices)


@pytest.mark.slow
@by_name
def test_eager_jit_vmap_and_scan_agree(pick):
    is_available, is_labelled = masks("some_labelled")
    x = normal_rows(6)
    keys = jax.random.split(jax.random.key(7), 4)
    arguments = jnp.asarray(x), jnp.asarray(is_available), jnp.asarray(is_labelled)
    eager = [pick.select(key, *arguments, batch_size=BATCH_SIZE) for key in keys]
    expected = np.stack([selection.indices for selection in eager])
    one = compiled(pick)
    jitted = np.stack([one(key, *arguments).indices for key in keys])
    np.testing.assert_array_equal(jitted, expected)
    over_keys = jax.vmap(one, (0, None, None, None))
    _, scanned = jax.lax.scan(
        lambda _, pair: (None, over_keys(pair, *arguments)), None, keys.reshape(2, 2)
    )
    np.testing.assert_array_equal(scanned.indices.reshape(4, -1), expected)
    np.testing.assert_allclose(scanned.scores[0, 1], eager[1].scores, rtol=1e-5)


@pytest.mark.sharded
@by_name
@pytest.mark.parametrize("num_devices", [8])  # 603 rows: blocks are cut
def test_devices_do_not_change_the_picks(pick, num_devices):
    if num_devices > len(jax.devices()):
        pytest.skip("set JAXAL_TEST_DEVICES=8")
    is_available, is_labelled = masks("some_labelled", 603)
    arguments = tuple(
        map(jnp.asarray, (normal_rows(8, 603), is_available, is_labelled))
    )
    key = jax.random.key(9)
    alone = pick.select(key, *arguments, batch_size=16)
    spread = pick.select(key, *arguments, batch_size=16, mesh=mesh_of(num_devices))
    np.testing.assert_array_equal(spread.indices, alone.indices)
    np.testing.assert_allclose(spread.scores, alone.scores, rtol=1e-6)


def select_of_360(selector, seed, x, weights=None):
    """The same shapes for the tests below, which then share a compilation."""
    weights = jnp.ones(360) if weights is None else weights
    free = jnp.ones(360, bool)
    key = jax.random.key(seed)
    return selector(key, jnp.asarray(x), free, weights=weights, batch_size=40)


@pytest.mark.parametrize("selector", [k_center, k_means_plus_plus])
def test_duplicates_of_picks_wait_until_nothing_else_is_left(selector):
    rng = np.random.default_rng(10)
    places = rng.normal(size=(12, 200)).astype(np.float32) + 100
    for seed in range(5):
        selection = select_of_360(selector, seed, np.repeat(places, 30, axis=0))
        place = np.asarray(selection.indices) // 30
        assert sorted(place[:12].tolist()) == list(range(12))
        assert len(set(selection.indices.tolist())) == 40
        assert (np.asarray(selection.scores[:12]) > 0).all()
        assert (np.asarray(selection.scores[12:]) == 0).all()


@pytest.mark.parametrize("selector", [k_center, k_means_plus_plus])
def test_what_coincides_with_centres_is_taken_at_random(selector):
    x = np.ones((360, 200), np.float32)
    draws = [select_of_360(selector, seed, x).indices for seed in range(36)]
    counts = np.bincount(np.concatenate(draws), minlength=360)
    # 1440 draws over 360 rows, 4 each; rows of a fixed set would have 36 each.
    assert counts.max() < 16 and (counts > 0).sum() > 330


@pytest.mark.parametrize("selector", [k_center, k_means_plus_plus])
def test_rows_without_weight_come_last(selector):
    weights = jnp.where(jnp.arange(360) < 4, 1.0, 0.0)
    x = np.random.default_rng(11).normal(size=(360, 200)).astype(np.float32)
    selection = select_of_360(selector, 0, x, weights)
    assert sorted(selection.indices[:4].tolist()) == [0, 1, 2, 3]
    assert len(set(selection.indices.tolist())) == 40
