"""What the door does for every selector: refusals, masked rows, NaN, signatures."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import View, selection, strategy
from jaxal.embeddings import Dense, Outer
from jaxal.selection import cluster_margin, facility_location, k_center, k_means, top_k
from tests.cases_picks import NUM_ROWS, SELECTORS, masks, mesh_of, rows_of_all_kinds
from tests.thinned import thinned

KEY = jax.random.key(3)
IS_AVAILABLE, IS_LABELLED = masks("with_padding")
IS_MASKED = ~(IS_AVAILABLE | IS_LABELLED)
every = pytest.mark.parametrize("name", SELECTORS)
GARBAGE = (np.nan, np.inf, 1e30, -5.0)


def with_rows(rows, mask, value):
    """Returns the rows with `value` in those of `mask`, wherever that can stand."""

    def put(name, array):
        where = mask[None, :, None] if name == "samples" else mask
        where = where[:, None] if name in ("x", "logits") else where
        if array.dtype == np.int32:
            return np.where(where, 7 if np.isfinite(value) else -1, array)
        return np.where(where, np.float32(value), array)

    return {name: put(name, array) for name, array in rows.items()}


def select(name, rows, is_available=IS_AVAILABLE, is_labelled=IS_LABELLED, size=7):
    return SELECTORS[name](KEY, rows, is_available, is_labelled, batch_size=size)


def check_equal(found, expected):
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.slow  # a law of jaxal.testing, of strategies by this
@every
def test_what_masked_rows_hold_changes_nothing(name):
    rows = rows_of_all_kinds()
    traced = jax.jit(lambda rows: select(name, rows))
    expected = traced(with_rows(rows, IS_MASKED, 0))
    eager = select(name, with_rows(rows, IS_MASKED, 0))
    for value in GARBAGE:
        spoiled = with_rows(rows, IS_MASKED, value)
        check_equal(select(name, spoiled), eager)
        check_equal(traced(spoiled), expected)


@pytest.mark.slow
@pytest.mark.sharded
@pytest.mark.parametrize("name", ["top_k", "k_center", "k_means_nearest", "graph_cut"])
def test_nor_on_several_devices(name):
    rows = rows_of_all_kinds()
    alone = select(name, rows)
    for value in (np.nan, 1e30):
        spoiled = with_rows(rows, IS_MASKED, value)
        spread = SELECTORS[name](
            KEY, spoiled, IS_AVAILABLE, IS_LABELLED, batch_size=7, mesh=mesh_of(4)
        )
        assert spread.indices.tolist() == alone.indices.tolist()


@pytest.mark.parametrize("name", thinned(SELECTORS, 9))
def test_nan_in_an_available_row_is_refused_or_makes_the_selection_invalid(name):
    rows, bad = rows_of_all_kinds(), np.zeros(NUM_ROWS, bool)
    bad[[11, 16]] = True
    spoiled = with_rows(rows, bad & IS_AVAILABLE, np.nan)
    spoiled |= {"labels": rows["labels"], "predictions": rows["predictions"]}
    with pytest.raises(ValueError, match=r"2 of 40 rows .* first is row 11.*[Mm]ask"):
        select(name, spoiled)
    found = jax.jit(lambda rows: select(name, rows))(spoiled)
    assert not found.is_valid.any()
    assert (found.indices == NUM_ROWS).all() and (found.scores == -np.inf).all()
    assert found.indices.dtype == np.int32


def test_a_refusal_names_the_argument():
    rows = rows_of_all_kinds()
    scores = rows["scores"].copy()
    scores[4] = np.inf
    free = np.ones(NUM_ROWS, bool)
    with pytest.raises(ValueError, match="scores: 1 of 40 rows .* row 4"):
        cluster_margin(KEY, rows["x"], free, batch_size=2, scores=scores)
    with pytest.raises(ValueError, match="embedding: 1 of 40 rows .* finite square"):
        k_center(KEY, Dense(jnp.full((40, 2), 1e30).at[1:].set(0)), free, batch_size=2)


def test_the_lowest_score_is_a_score():
    scores = jnp.array([-jnp.inf, 1.0, -jnp.inf, -jnp.inf])
    free = jnp.array([True, True, True, False])
    found = top_k(KEY, scores, free, batch_size=4)
    assert found.indices[0] == 1 and sorted(found.indices[1:3].tolist()) == [0, 2]
    assert found.is_valid.tolist() == [True, True, True, False]


def test_a_mask_without_labelled_rows_is_that_of_available_ones():
    x = rows_of_all_kinds()["x"].copy()
    x[IS_LABELLED | IS_MASKED] = np.nan
    found = k_center(KEY, x, IS_AVAILABLE, batch_size=5)
    assert found.is_valid.all()
    with pytest.raises(ValueError, match="first is row 0"):
        k_center(KEY, x, IS_AVAILABLE, IS_LABELLED, batch_size=5)


def test_known_values_in_a_trace_are_known():
    x = rows_of_all_kinds()["x"].copy()
    free = np.arange(NUM_ROWS) > 3
    x[:4] = np.nan
    closed = jax.jit(lambda key: k_center(key, x, free, batch_size=5))
    assert closed(KEY).indices.tolist() == (
        k_center(KEY, x, free, batch_size=5).indices.tolist()
    )
    x[20] = np.nan
    with pytest.raises(ValueError, match="row 20"):
        jax.jit(lambda key: k_center(key, x, free, batch_size=4))(KEY)


def test_rows_of_sets_that_are_not_there_change_nothing():
    rows = rows_of_all_kinds()
    free = np.ones(NUM_ROWS, bool)
    query, is_there = rows_of_all_kinds(1, 6)["x"].copy(), np.arange(6) < 4
    expected = facility_location(KEY, rows["x"], free, batch_size=5, query=query[:4])
    query[4:] = np.nan

    def located(x, query):
        return facility_location(
            KEY, x, free, batch_size=5, query=query, is_query=is_there
        )

    found = located(rows["x"], query).indices.tolist()
    assert found == expected.indices.tolist()
    for how in (jax.jit(located), jax.jit(lambda q: located(rows["x"], q))):
        args = (rows["x"], query) if how.__wrapped__ is located else (query,)
        assert how(*args).indices.tolist() == found
    query[0] = np.nan
    with pytest.raises(ValueError, match="query: 1 of 6"):
        located(rows["x"], query)


def test_clusters_of_what_is_masked():
    x = rows_of_all_kinds()["x"].copy()
    expected = k_means(KEY, x, IS_AVAILABLE, num_clusters=4)
    x[~IS_AVAILABLE] = np.nan
    for how in (k_means, jax.jit(k_means, static_argnames="num_clusters")):
        found = how(KEY, x, IS_AVAILABLE, num_clusters=4)
        np.testing.assert_array_equal(found.assignment, expected.assignment)


def test_the_signature_is_the_selectors_own():
    names = list(inspect.signature(k_center).parameters)
    assert names[:4] == ["key", "embedding", "is_available", "is_labelled"]
    assert k_center.__doc__.startswith("Picks the row farthest")
    assert k_center.__module__ == "jaxal.selection.spread.k_center"
    with pytest.raises(TypeError, match="batch_size"):
        k_center(KEY, jnp.ones([4, 2]), jnp.ones(4, bool))


REFUSED = [
    ({"key": 0}, TypeError, "jax.random.key"),
    ({"embedding": jnp.ones(4)}, ValueError, r"\[N, D\]"),
    ({"embedding": jnp.ones([4, 2], int)}, TypeError, "floating"),
    ({"is_available": jnp.ones(3, bool)}, ValueError, "is_available"),
    ({"is_available": jnp.ones(4)}, TypeError, "is_available"),
    ({"is_labelled": jnp.ones(5, bool)}, ValueError, "is_labelled"),
    ({"batch_size": 5}, ValueError, "batch_size is 5"),
    ({"batch_size": 2.0}, TypeError, "static"),
    ({"weights": jnp.ones(3)}, ValueError, "one number for each row"),
    ({"weights": jnp.ones(4, int)}, TypeError, "weights"),
    ({"weights": -jnp.ones(4)}, ValueError, "weights: 4 of 4 .* less than 0"),
    ({"mesh": jax.make_mesh((1,), ("data",))}, ValueError, "pool_mesh"),
]


@pytest.mark.parametrize(("change", "error", "says"), REFUSED)
def test_refusals(change, error, says):
    free = jnp.ones(4, bool)
    given = {"key": KEY, "embedding": jnp.ones([4, 2]), "is_available": free}
    with pytest.raises(error, match=says):
        k_center(**(given | {"batch_size": 2} | change))


def test_every_public_selector_is_in_the_table():
    def takes_a_batch(name):
        function = getattr(selection, name)
        return inspect.isfunction(function) and (
            "batch_size" in inspect.signature(function).parameters
        )

    public = {name for name in selection.__all__ if takes_a_batch(name)}
    assert public - {"blocked_selection"} == set(SELECTORS) - {"lcmd_outer"}


def test_outer_rows_are_looked_at_whole():
    a, h = jnp.ones((6, 2)), jnp.ones((6, 3)).at[5].set(jnp.nan)
    free = jnp.arange(6) < 5
    assert k_center(KEY, Outer(a, h), free, batch_size=2).is_valid.all()
    with pytest.raises(ValueError, match="row 5"):
        k_center(KEY, Outer(0 * a, h), ~free, batch_size=1)


@pytest.mark.parametrize("num_classes", thinned([40, 2, 3], 1))
@pytest.mark.parametrize("name", ["batch_bald", "epig", "bald", "vote_entropy"])
def test_nan_in_one_number_of_one_draw_is_found(name, num_classes):
    key = jax.random.key(0)
    draws = np.array(jax.random.normal(key, (20, 30, num_classes)))
    free = jnp.ones(30, bool)
    for sample in (0, 3, 19):
        spoiled = draws.copy()
        spoiled[sample, 7, num_classes - 1] = np.nan
        view = View(free, ~free, samples=jnp.asarray(spoiled))
        with pytest.raises(ValueError, match="row 7|row 0"):
            strategy(name).select(key, view, 2)
        found = jax.jit(strategy(name).select, static_argnums=2)(key, view, 2)
        assert not found.is_valid.any()
