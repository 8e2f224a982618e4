"""TypiClust, ActiveFT and k-means selection against float64 loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.embeddings import Dense
from jaxal.selection import active_ft, k_means, typiclust
from jaxal.selection.spread.representatives import represent
from tests.cases_picks import mesh_of
from tests.reference import coverage as reference
from tests.reference.ties import Follow

NUM_ROWS, BATCH_SIZE, MAX_CLUSTERS = 303, 12, 24


def pool(seed, part_labelled=0.02):
    rng = np.random.default_rng(seed)
    places = 4 * rng.normal(size=(15, 4))
    x = places[rng.integers(0, 15, size=NUM_ROWS)] + rng.normal(size=(NUM_ROWS, 4))
    state = rng.random(NUM_ROWS)
    is_labelled = state < part_labelled
    return x.astype(np.float32), ~is_labelled & (state < 0.95), is_labelled


def run_typiclust(key, x, is_available, is_labelled, mesh=None):
    return typiclust(
        key,
        jnp.asarray(x),
        jnp.asarray(is_available),
        jnp.asarray(is_labelled),
        batch_size=BATCH_SIZE,
        max_clusters=MAX_CLUSTERS,
        num_neighbours=6,
        mesh=mesh,
    )


def check_typiclust(x, is_available, is_labelled, mesh=None):
    key, is_used = jax.random.key(1), is_available | is_labelled
    found = run_typiclust(key, x, is_available, is_labelled, mesh)
    wanted = min(int(is_labelled.sum()) + BATCH_SIZE, MAX_CLUSTERS, int(is_used.sum()))
    clusters = k_means(
        key,
        jnp.asarray(x),
        jnp.asarray(is_used),
        num_clusters=MAX_CLUSTERS,
        num_live=jnp.int32(max(wanted, 1)),
        num_steps=10,
    ).assignment
    assert len(set(clusters[is_used].tolist())) <= wanted
    picks, typicality = reference.typiclust(
        x,
        np.asarray(clusters),
        is_available,
        is_labelled,
        BATCH_SIZE,
        min_cluster_size=5,
        num_neighbours=6,
        asked=found.indices.tolist(),
    )
    num = min(BATCH_SIZE, int(is_available.sum()))
    assert found.indices.tolist() == picks + [NUM_ROWS] * (BATCH_SIZE - num)
    np.testing.assert_allclose(found.scores[:num], typicality, rtol=3e-5)


def test_typiclust_by_looking():
    # Clumps of seven, six and five, and two stray rows; the largest has a label.
    places = [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        100,
        101,
        102,
        103,
        104,
        105,
        200,
        201,
        202,
        203,
        204,
    ]
    x = jnp.array([*places, 400, 600], jnp.float32)[:, None]
    is_labelled = jnp.arange(20) == 3
    found = typiclust(
        jax.random.key(0), x, ~is_labelled, is_labelled, batch_size=4, num_neighbours=2
    )
    # Five clusters, the stray rows are ones; a row within a clump is one from two
    # others. Then the labelled clump's, then round again.
    clump = np.searchsorted([7, 13, 18], np.asarray(found.indices), side="right")
    assert clump.tolist() == [1, 2, 0, 1]
    ends = [0, 6, 7, 12, 13, 17]
    assert not set(found.indices.tolist()) & set(ends)
    assert found.scores.tolist() == [1.0] * 4


def test_typiclust_is_the_loop():
    for seed in range(24):
        check_typiclust(*pool(seed, part_labelled=(0, 0.02, 0.3)[seed % 3]))


def test_typiclust_with_few_rows_left_or_none():
    x, row = pool(0)[0], np.arange(NUM_ROWS)
    check_typiclust(x, row < 5, row >= 200)
    check_typiclust(x, row < 0, row >= 0)
    check_typiclust(x, row < 4, row < 0)


def test_num_live_clusters_have_rows_and_the_others_none():
    x, is_available, _ = pool(3)
    for num_live in (1, 5):
        found = k_means(
            jax.random.key(0),
            jnp.asarray(x),
            jnp.asarray(is_available),
            num_clusters=MAX_CLUSTERS,
            num_live=jnp.int32(num_live),
            num_steps=10,
        )
        used = np.asarray(found.assignment)[is_available]
        assert sorted(set(used.tolist())) == list(range(num_live))
        means = [x[is_available][used == i].mean(axis=0) for i in range(num_live)]
        np.testing.assert_allclose(found.centroids[:num_live], means, atol=0.5)


def check_centroids(x, is_available, mesh=None):
    key, free = jax.random.key(2), jnp.asarray(is_available)
    clusters = k_means(key, jnp.asarray(x), free, num_clusters=BATCH_SIZE, num_steps=20)
    found = represent(key, Dense(jnp.asarray(x)), free, clusters.centroids, mesh)
    follow = Follow(found.indices, tolerance=1e-4)  # two may be as near
    picks = reference.nearest_rows(x, is_available, clusters.centroids, follow)
    assert found.is_valid.tolist() == [i < len(picks) for i in range(BATCH_SIZE)]
    assert found.indices[found.is_valid].tolist() == picks


def test_centroids_take_the_nearest_rows_no_row_twice():
    for seed in range(12):
        check_centroids(*pool(seed)[:2])
    x, row = pool(0)[0], np.arange(NUM_ROWS)
    check_centroids(x, row < 5)


SETTINGS = {"temperature": 0.3, "balance": 0.8}


def run_active_ft(key, x, is_available, num_steps, assign_every, mesh=None):
    return active_ft(
        key,
        jnp.asarray(x),
        jnp.asarray(is_available),
        batch_size=BATCH_SIZE,
        learning_rate=0.05,
        num_steps=num_steps,
        assign_every=assign_every,
        mesh=mesh,
        **SETTINGS,
    )


@functools.cache
def active_ft_case(seed, assign_every):
    x, is_available, _ = pool(seed)
    key = jax.random.key(seed)
    # Without steps the points are the rows that they start at.
    start = np.asarray(run_active_ft(key, x, is_available, 0, 1).indices)
    points = reference.active_ft(
        x,
        is_available,
        start,
        rate=0.05,
        num_steps=20,
        assign_every=assign_every,
        **SETTINGS,
    )
    picks = reference.nearest_rows(reference.unit(x), is_available, points)
    return key, x, is_available, start, picks, points


@pytest.mark.parametrize("assign_every", [1, 8])
def test_active_ft_is_the_loop(assign_every):
    num_moved = 0
    for seed in range(10):
        key, x, is_available, start, picks, points = active_ft_case(seed, assign_every)
        found = run_active_ft(key, x, is_available, 20, assign_every)
        assert found.indices.tolist() == picks
        away = np.sum(np.square(reference.unit(x)[picks] - points), axis=-1)
        # Adam divides by gradients as small as rounding.
        np.testing.assert_allclose(-found.scores, away, atol=1e-2)
        num_moved += sum(a != b for a, b in zip(start, picks, strict=True))
    assert num_moved > 60


def test_active_ft_without_features_or_company():
    free = jnp.ones(NUM_ROWS, bool)
    found = run_active_ft(jax.random.key(0), jnp.zeros((NUM_ROWS, 4)), free, 20, 8)
    assert len(set(found.indices.tolist())) == BATCH_SIZE
    assert not np.isnan(found.scores).any()
    x = jnp.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
    alone = active_ft(jax.random.key(0), x, free[:4], batch_size=1, learning_rate=0.1)
    assert alone.indices.tolist() == [2]  # nearest to the mean, (3, 1.3) in direction


@pytest.mark.slow
@pytest.mark.sharded
def test_devices_change_no_pick():
    check_typiclust(*pool(1, 0.05), mesh_of(4))
    check_centroids(*pool(1)[:2], mesh_of(4))
    key, x, is_available, _, picks, _ = active_ft_case(1, 8)
    found = run_active_ft(key, x, is_available, 20, 8, mesh_of(4))
    assert found.indices.tolist() == picks
