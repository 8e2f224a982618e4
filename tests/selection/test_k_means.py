"""k-means against Lloyd's steps in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.embeddings import Dense, Outer
from jaxal.selection import k_means
from jaxal.selection.spread.k_means import _cluster, _Options, _Rows
from tests.cases_picks import MASKS, POOLS, masks, mesh_of, normal_rows
from tests.reference import selection as reference

NUM_ROWS, NUM_DIMS, NUM_CLUSTERS = 300, 4, 6


def blobs(spread=20.0):
    rng = np.random.default_rng(0)
    places = spread * rng.normal(size=(NUM_CLUSTERS, NUM_DIMS))
    truth = np.arange(NUM_ROWS) % NUM_CLUSTERS
    return (rng.normal(size=(NUM_ROWS, NUM_DIMS)) + places[truth]).astype(np.float32)


@functools.cache
def compiled(**settings):
    settings = {"tolerance": 0.0, "num_clusters": NUM_CLUSTERS, **settings}
    return jax.jit(functools.partial(k_means, **settings))


def run(x, is_used=None, weights=None, seed=0, **settings):
    is_used = np.ones(NUM_ROWS, bool) if is_used is None else is_used
    weights = np.ones(NUM_ROWS) if weights is None else weights
    key, weights = jax.random.key(seed), jnp.asarray(weights, jnp.float32)
    return compiled(**settings)(key, jnp.asarray(x), is_used, weights=weights)


def check_consistent(clusters, x, is_used, weights):
    distances = reference.squared_distances(x, clusters.centroids)
    closest = np.where(is_used, distances.min(-1), 0)
    np.testing.assert_allclose(clusters.distances, closest, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        clusters.inertia, np.sum(closest * weights), rtol=1e-3, atol=1e-3
    )
    chosen = np.where(is_used, np.asarray(clusters.assignment), 0)
    taken = np.take_along_axis(distances, chosen[:, None], -1)[:, 0]
    np.testing.assert_allclose(np.where(is_used, taken, 0), closest, atol=1e-3)
    assert (np.asarray(clusters.assignment)[~is_used] == -1).all()


@pytest.mark.parametrize("spread", [0.0, 20.0])
def test_centroids_are_the_means_lloyd_stops_at(spread):
    x, rng = blobs(spread), np.random.default_rng(1)
    is_used, weights = rng.random(NUM_ROWS) < 0.8, rng.random(NUM_ROWS) + 0.5
    clusters = run(x, is_used, weights)
    check_consistent(clusters, x, is_used, weights)
    assert int(clusters.num_steps) < 100
    for cluster in range(NUM_CLUSTERS):
        members = is_used & (np.asarray(clusters.assignment) == cluster)
        mean = np.average(x[members], axis=0, weights=weights[members])
        np.testing.assert_allclose(clusters.centroids[cluster], mean, atol=1e-3)


def test_well_separated_blobs_are_found():
    clusters = run(blobs(200.0))
    truth = np.arange(NUM_ROWS) % NUM_CLUSTERS
    pairs = set(zip(truth.tolist(), clusters.assignment.tolist(), strict=True))
    assert len(pairs) == NUM_CLUSTERS


def test_draws_come_close_to_lloyd():
    x = blobs()
    lloyd, draws = run(x), run(x, minibatch_size=64, num_steps=30)
    check_consistent(draws, x, np.ones(NUM_ROWS, bool), np.ones(NUM_ROWS))
    assert float(draws.inertia) < 1.2 * float(lloyd.inertia)


def test_the_same_key_gives_the_same_clusters():
    first, second, other = run(blobs()), run(blobs()), run(blobs(), seed=1)
    np.testing.assert_array_equal(first.centroids, second.centroids)
    assert (np.asarray(first.assignment) != np.asarray(other.assignment)).any()


def test_draws_are_those_of_the_key():
    def draw(seed):
        return run(blobs(), seed=seed, minibatch_size=64, num_steps=30).centroids

    np.testing.assert_array_equal(draw(3), draw(3))
    assert (np.asarray(draw(3)) != np.asarray(draw(4))).any()


def test_a_centroid_that_no_draw_comes_near_stays_where_it_is():
    x, rows = blobs(200.0), set(map(tuple, blobs(200.0).tolist()))
    seeds = run(x, seed=5, minibatch_size=1, num_steps=0)
    moved = run(x, seed=5, minibatch_size=1, num_steps=1)
    is_same = (np.asarray(seeds.centroids) == np.asarray(moved.centroids)).all(-1)
    assert is_same.sum() == NUM_CLUSTERS - 1
    (place,) = np.asarray(moved.centroids)[~is_same].round(3).tolist()
    near = [np.abs(np.array(row) - place).max() for row in rows]
    assert min(near) < 1e-2  # the mean of all it has seen is the one row drawn


@pytest.mark.parametrize("kind", MASKS)
def test_clusters_of_any_pool_are_clusters(kind):
    is_available, is_labelled = masks(kind)
    is_used = is_available | is_labelled
    cluster = jax.jit(functools.partial(k_means, num_clusters=5, num_steps=8))
    for name, x in POOLS.items():
        if x.dtype != np.float32:
            continue  # one compilation serves the others
        found = cluster(jax.random.key(1), jnp.asarray(x), is_used)
        chosen = np.asarray(found.assignment)
        assert np.isfinite(found.centroids).all(), name
        assert np.isfinite(found.inertia) and found.inertia >= 0, name
        assert ((chosen >= 0) == is_used).all() and chosen.max() < 5, name
        assert (np.asarray(found.distances)[~is_used] == 0).all(), name


@pytest.mark.slow
def test_clusters_are_the_same_in_a_loop_and_over_keys():
    x, keys = jnp.asarray(normal_rows(6)), jax.random.split(jax.random.key(7), 4)
    is_used = jnp.arange(len(x)) % 5 > 0

    def cluster(key):
        return k_means(key, x, is_used, num_clusters=4, num_steps=6)

    eager = [cluster(key) for key in keys]
    expected = np.stack([one.assignment for one in eager])
    over_keys = jax.vmap(cluster)
    _, scanned = jax.lax.scan(
        lambda _, pair: (None, over_keys(pair)), None, keys.reshape(2, 2)
    )
    np.testing.assert_array_equal(scanned.assignment.reshape(4, -1), expected)
    np.testing.assert_allclose(scanned.inertia.ravel()[1], eager[1].inertia, rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_rows_are_clustered_in_single_precision(dtype):
    x = jnp.asarray(blobs(200.0), dtype)
    found = k_means(jax.random.key(0), x, num_clusters=NUM_CLUSTERS)
    assert found.centroids.dtype == jnp.float32
    truth = np.arange(NUM_ROWS) % NUM_CLUSTERS
    pairs = set(zip(truth.tolist(), found.assignment.tolist(), strict=True))
    assert len(pairs) == NUM_CLUSTERS


def test_fewer_places_than_clusters():
    x = np.repeat(blobs()[:3], NUM_ROWS // 3, axis=0)
    clusters = run(x)
    check_consistent(clusters, x, np.ones(NUM_ROWS, bool), np.ones(NUM_ROWS))
    assert float(clusters.inertia) < 1e-2
    assert len(set(clusters.assignment.tolist())) == 3
    is_used = np.arange(NUM_ROWS) < 2
    assert np.isfinite(run(x, is_used).centroids).all()
    assert np.isfinite(run(x, np.zeros(NUM_ROWS, bool)).centroids).all()


def test_empty_clusters_move_to_far_rows():
    # Six places, and a start that puts all six centroids on one of them.
    x = np.zeros((NUM_ROWS, NUM_DIMS), np.float32)
    x[:NUM_DIMS] = 10 * np.eye(NUM_DIMS)
    x[NUM_DIMS] = -10
    rows = _Rows(Dense(jnp.asarray(x)), jnp.ones(NUM_ROWS), jnp.ones(NUM_ROWS, bool))
    seeds = jnp.full(NUM_CLUSTERS, 50), jnp.ones(NUM_CLUSTERS, bool)
    options = _Options(NUM_CLUSTERS, 10, 1e-4, None)
    clusters = _cluster(jax.random.key(0), rows, *seeds, options, None)
    assert float(clusters.inertia) == 0
    assert len(set(clusters.assignment.tolist())) == NUM_CLUSTERS


@pytest.mark.sharded
@pytest.mark.parametrize("num_devices", [8])
def test_devices_change_rounding_only(num_devices):
    if num_devices > len(jax.devices()):
        pytest.skip("set JAXAL_TEST_DEVICES=8")
    x, mesh = jnp.asarray(blobs(200.0)), mesh_of(num_devices)
    alone = k_means(jax.random.key(0), x, num_clusters=NUM_CLUSTERS)
    spread = k_means(jax.random.key(0), x, num_clusters=NUM_CLUSTERS, mesh=mesh)
    np.testing.assert_array_equal(spread.assignment, alone.assignment)
    np.testing.assert_allclose(spread.centroids, alone.centroids, atol=1e-3)


def test_bad_input_is_refused_with_a_cure():
    x = jnp.ones((3, 2))
    with pytest.raises(TypeError, match="random_projection"):
        k_means(jax.random.key(0), Outer(x, x), num_clusters=2)
    with pytest.raises(ValueError, match="num_clusters is 4"):
        k_means(jax.random.key(0), x, num_clusters=4)
    with pytest.raises(ValueError, match=r"weights has shape \[2\]"):
        k_means(jax.random.key(0), x, num_clusters=2, weights=jnp.ones(2))
