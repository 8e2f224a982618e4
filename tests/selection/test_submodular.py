"""Submodular functions are maximised as written down, one row after another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import Outer, facility_location, graph_cut, log_determinant
from tests.cases_picks import masks
from tests.reference import kernels as reference
from tests.reference.ties import Follow
from tests.thinned import thinned

NUM_DIMS, BATCH_SIZE = 6, 6
ETA, NU, TRADE_OFF, RIDGE = 0.7, 0.6, 0.8, 0.5
Q, P = {"query"}, {"private"}

# selector, which sets, settings, the function of picks
CASES = {
    "FL": (facility_location, set(), {}, lambda s, a: s.fl(a)),
    "FLCG": (facility_location, P, {"nu": NU}, lambda s, a: s.flcg(a, NU)),
    "FLQMI": (facility_location, Q, {"eta": ETA}, lambda s, a: s.flqmi(a, ETA)),
    "FLVMI": (
        facility_location,
        Q,
        {"eta": ETA, "covers": "pool"},
        lambda s, a: s.flvmi(a, ETA),
    ),
    "FLCMI": (
        facility_location,
        Q | P,
        {"eta": ETA, "nu": NU, "covers": "pool"},
        lambda s, a: s.flcmi(a, ETA, NU),
    ),
    "GC": (graph_cut, set(), {"trade_off": TRADE_OFF}, lambda s, a: s.gc(a, TRADE_OFF)),
    "GCCG": (
        graph_cut,
        P,
        {"trade_off": TRADE_OFF, "nu": NU},
        lambda s, a: s.gccg(a, TRADE_OFF, NU),
    ),
    "GCMI": (graph_cut, Q, {"trade_off": 1.0}, lambda s, a: s.gcmi(a, 1.0)),
    "LogDet": (
        log_determinant,
        set(),
        {"ridge": RIDGE},
        lambda s, a: s.logdet(a, RIDGE),
    ),
    "LogDetCG": (
        log_determinant,
        P,
        {"ridge": RIDGE, "nu": NU},
        lambda s, a: s.logdet(a, RIDGE, "private", NU),
    ),
    "LogDetMI": (
        log_determinant,
        Q,
        {"ridge": RIDGE, "eta": ETA},
        lambda s, a: s.logdet(a, RIDGE) - s.logdet(a, RIDGE, "query", ETA),
    ),
}


@pytest.mark.parametrize("name", thinned(CASES, 6))
def test_picks_are_the_greedy_maximum(name):
    selector, sets, settings, function = CASES[name]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(40, NUM_DIMS)).astype(np.float32)
        query, private = rng.normal(size=(2, 3, NUM_DIMS)).astype(np.float32)
        given = {"query": query, "private": private}
        kind = ("some_labelled", "none_labelled", "with_padding")[seed % 3]
        is_available, is_labelled = masks(kind)
        similar = reference.Similarities(
            x,
            query,
            private,
            np.flatnonzero(is_labelled),
            np.flatnonzero(is_available | is_labelled),
        )
        found = selector(
            jax.random.key(seed),
            jnp.asarray(x),
            jnp.asarray(is_available),
            jnp.asarray(is_labelled),
            batch_size=BATCH_SIZE,
            **{name: jnp.asarray(given[name]) for name in sets},
            **settings,
        )
        picks, gains = reference.greedy(
            lambda a, s=similar: function(s, a),
            is_available,
            BATCH_SIZE,
            Follow(found.indices, 1e-4, 0.01),
        )
        # Where nothing is left to cover, what is picked is drawn.
        is_coverage = selector is facility_location
        num = int(np.sum(np.array(gains) > 1e-6)) if is_coverage else BATCH_SIZE
        np.testing.assert_allclose(
            found.scores[:num], gains[:num], rtol=2e-3, atol=1e-5
        )


@pytest.mark.parametrize("selector", [facility_location, graph_cut, log_determinant])
def test_a_query_is_matched_and_a_private_set_avoided(selector):
    # Two rows of each of four directions; the fourth has three.
    x = jnp.asarray(np.eye(4)[[0, 0, 1, 1, 2, 2, 3, 3, 3]], jnp.float32)
    key, free = jax.random.key(0), jnp.ones(9, bool)

    def direction(batch_size, **settings):
        found = selector(key, x, free, batch_size=batch_size, **settings)
        return np.argmax(np.asarray(x)[found.indices], axis=-1).tolist()

    query = 5 * jnp.eye(4)[1:2]
    assert direction(2, query=query)[0] == 1
    private = jnp.eye(4)[3:]
    assert set(direction(3, private=private)) == {0, 1, 2}
    # A row of the query that is not there is not looked for.
    both, is_query = jnp.eye(4)[:2], jnp.array([False, True])
    assert direction(1, query=both, is_query=is_query) == [1]


@pytest.mark.parametrize("selector", [facility_location, graph_cut, log_determinant])
def test_outer_products_and_their_sets_are_taken_as_when_written_out(selector):
    rng = np.random.default_rng(0)
    a, h = rng.normal(size=(2, 42, 3)).astype(np.float32)
    written = jnp.asarray((a[:, :, None] * h[:, None]).reshape(42, 9))
    whole = Outer(jnp.asarray(a), jnp.asarray(h))
    pool, query = jnp.arange(40), jnp.array([40, 41])
    free = jnp.arange(40) > 4
    picks = [
        selector(jax.random.key(0), pool_rows, free, batch_size=8, **sets).indices
        for pool_rows, sets in (
            (whole.take(pool), {}),
            (written[:40], {}),
            (whole.take(pool), {"query": whole.take(query)}),
            (written[:40], {"query": written[40:]}),
        )
    ]
    np.testing.assert_array_equal(picks[0], picks[1])
    np.testing.assert_array_equal(picks[2], picks[3])


def test_graph_cut_of_a_gaussian_kernel_adds_up_its_columns():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    rows = reference.rows_of(x)
    k = reference.gram(rows, rows, "rbf", 0.5)
    gains, expected = k.sum(0) - np.diag(k), []
    for _ in range(6):
        expected.append(int(np.argmax(gains)))
        gains = gains - 2 * k[expected[-1]]
        gains[expected[-1]] = -np.inf
    found = graph_cut(
        jax.random.key(0),
        x,
        np.ones(40, bool),
        batch_size=6,
        kernel="rbf",
        bandwidth=0.5,
    )
    assert found.indices.tolist() == expected


def test_refusals():
    key, x, free = jax.random.key(0), jnp.ones([4, 2]), jnp.ones(4, bool)
    for selector in (graph_cut, log_determinant):
        with pytest.raises(ValueError, match="facility_location"):
            selector(key, x, free, batch_size=1, query=x, private=x)
    with pytest.raises(ValueError, match="covers='pool'"):
        facility_location(key, x, free, batch_size=1, query=x, private=x)
    with pytest.raises(TypeError, match="query is Outer"):
        graph_cut(key, x, free, batch_size=1, query=Outer(x, x))
    with pytest.raises(ValueError, match="is_query"):
        graph_cut(key, x, free, batch_size=1, is_query=free)
    with pytest.raises(ValueError, match="private"):
        log_determinant(key, x, free, ~free, batch_size=1, kernel="rbf")
