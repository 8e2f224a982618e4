"""CLUE, Cluster-Margin and CDAL against loops, and pools whose picks are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    View,
    cluster_margin,
    k_center,
    k_means_nearest,
    kl_embedding,
    strategy,
)
from jaxal.selection.spread.linkage import average_linkage
from jaxal.selection.spread.turns import turns
from tests.reference import diverse as reference
from tests.reference.ties import Follow


def partition(labels) -> set[frozenset]:
    labels = np.asarray(labels)
    return {frozenset(np.flatnonzero(labels == k).tolist()) for k in np.unique(labels)}


def test_turns_rank_rows_within_their_group():
    rng = np.random.default_rng(0)
    groups, values = rng.integers(0, 5, 40), rng.integers(0, 4, 40)
    expected = [
        sum(
            groups[j] == groups[i] and (values[j], j) < (values[i], i)
            for j in range(40)
        )
        for i in range(40)
    ]
    assert turns(jnp.asarray(groups), jnp.asarray(values)).tolist() == expected


def test_average_linkage_is_that_of_looking_at_all_pairs():
    cluster = jax.jit(average_linkage)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(14, 2)).astype(np.float32)
        if seed % 4 == 0:  # places that several rows share
            x = np.repeat(x[:7], 2, axis=0)
        is_used = rng.random(14) < 0.8 if seed % 2 else np.ones(14, bool)
        used = np.flatnonzero(is_used)
        num_clusters = int(rng.integers(1, min(6, len(used)) + 1))
        distances = np.linalg.norm(x[:, None] - x[None], axis=-1)
        labels = np.asarray(cluster(distances, is_used, num_clusters))
        expected = {
            frozenset(used[list(rows)].tolist())
            for rows in reference.average_linkage(x[used], num_clusters)
        }
        assert (
            partition(np.where(is_used, labels, -1))
            - {frozenset(np.flatnonzero(~is_used).tolist())}
            == expected
        )
        # A cluster is called by its first row.
        assert all(labels[row] == min(rows) for rows in expected for row in rows)


def test_cluster_margin_takes_turns_as_the_paper_does():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(20, 2)).astype(np.float32)
        scores = rng.permutation(20).astype(np.float32)
        is_available = rng.random(20) < 0.85
        picks = cluster_margin(
            jax.random.key(seed),
            x,
            is_available,
            batch_size=6,
            scores=scores,
            oversample=2.0,
            rows_per_cluster=3.0,
        )
        rows = np.flatnonzero(is_available)
        ranked = rows[np.argsort(-scores[rows])]
        clusters = [
            {int(ranked[i]) for i in cluster}
            for cluster in reference.average_linkage(x[ranked], len(rows) // 3)
        ]
        indices = np.asarray(picks.indices).tolist()
        allowed = reference.clusters_in_turn(clusters, ranked[:12].tolist(), indices)
        assert len(set(indices)) == 6
        assert all(i in rows for i, rows in zip(indices, allowed, strict=True))
        np.testing.assert_array_equal(picks.scores, scores[picks.indices])


def test_cluster_margin_draws_evenly_within_a_cluster():
    x = jnp.repeat(jnp.array([[0.0], [9.0]]), 4, axis=0)
    draw = jax.vmap(
        lambda key: (
            cluster_margin(
                key,
                x,
                jnp.ones(8, bool),
                batch_size=1,
                scores=jnp.ones(8),
                oversample=8.0,
                rows_per_cluster=4.0,
            ).indices
        )
    )
    counts = np.bincount(draw(jax.random.split(jax.random.key(0), 2000))[:, 0])
    # Two clusters of one size: either is the first.
    assert np.sum((counts - 250) ** 2 / 250) < 24.3  # chi-square, 7 degrees: 0.001


def test_candidates_beyond_those_clustered_join_the_nearest():
    places = np.array([0.0, 10.0, 20.0, 30.0])
    x = (np.tile(places, 5) + 0.01 * np.arange(20))[:, None].astype(np.float32)
    picks = cluster_margin(
        jax.random.key(1),
        x,
        np.ones(20, bool),
        batch_size=8,
        scores=-np.arange(20.0, dtype=np.float32),
        oversample=2.5,
        rows_per_cluster=2.0,
        num_clustered=8,
    )
    assert sorted((np.asarray(picks.indices) % 4).tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sorted((np.asarray(picks.indices[:4]) % 4).tolist()) == [0, 1, 2, 3]


def test_cdal_is_farthest_first_by_divergence():
    cdal = jax.jit(strategy("cdal").select, static_argnums=2)
    for seed in range(25):
        rng = np.random.default_rng(seed)
        logits = (3 * rng.normal(size=(30, 4))).astype(np.float32)
        if seed % 5 == 0:
            logits[::3] = np.where(
                np.eye(4, dtype=bool)[rng.integers(0, 4, 10)], 0, -np.inf
            )
        is_labelled = rng.random(30) < 0.15
        is_labelled[0] = True
        is_available = ~is_labelled & (rng.random(30) < 0.9)
        view = View(jnp.asarray(is_available), jnp.asarray(is_labelled), logits=logits)
        picks = cdal(jax.random.key(seed), view, 5).indices.tolist()
        masks = is_available, is_labelled
        if seed % 5:
            assert picks == reference.farthest_by_divergence(logits, *masks, 5)
        else:  # one-hot rows tie
            follow = Follow(picks, 1e-4)
            reference.farthest_by_divergence(logits, *masks, 5, follow)


def test_distances_of_kl_embedding_are_divergences():
    rng = np.random.default_rng(3)
    logits = (2 * rng.normal(size=(12, 5))).astype(np.float32)
    rows = kl_embedding(logits)
    norms = rows.sqnorm()
    distances = norms[:, None] + norms[None] - 2 * rows.inner(rows)
    probs = reference.softmax(logits)
    expected = [[reference.divergence(p, q) for q in probs] for p in probs]
    np.testing.assert_allclose(distances, expected, atol=1e-5)


def test_equal_predictions_are_at_no_distance():
    logits = jnp.tile(jnp.array([[5.0, 1.0, -3.0], [0.0, 0.0, 9.0]]), (10, 1))
    key, free = jax.random.key(0), jnp.ones(20, bool)
    picks = k_center(key, kl_embedding(logits), free, batch_size=6)
    assert len(set((np.asarray(picks.indices[:2]) % 2).tolist())) == 2
    assert (np.asarray(picks.scores[2:]) == 0).all()


def blobs(seed=0, num_blobs=5, size=8):
    rng = np.random.default_rng(seed)
    places = 50 * np.eye(num_blobs, 5)
    x = np.repeat(places, size, axis=0) + rng.normal(size=(num_blobs * size, 5))
    return x.astype(np.float32), np.repeat(np.arange(num_blobs), size)


def test_the_nearest_row_to_each_weighted_mean_is_picked():
    x, blob = blobs()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        weights = rng.random(40).astype(np.float32) ** 4
        is_available = rng.random(40) < 0.8
        picks = k_means_nearest(
            jax.random.key(seed), x, is_available, batch_size=5, weights=weights
        )
        expected = set()
        for k in range(5):
            rows = np.flatnonzero(is_available & (blob == k))
            mean = np.average(x[rows].astype(np.float64), axis=0, weights=weights[rows])
            expected.add(int(rows[np.argmin(np.sum((x[rows] - mean) ** 2, axis=1))]))
        assert set(picks.indices.tolist()) == expected


def test_candidates_come_first_then_the_fallback_decides():
    x, _ = blobs()
    is_candidate = np.zeros(40, bool)
    is_candidate[[3, 11]] = True
    fallback = np.arange(40, dtype=np.float32)
    picks = k_means_nearest(
        jax.random.key(0),
        x,
        np.ones(40, bool),
        batch_size=5,
        is_candidate=is_candidate,
        fallback=fallback,
    )
    assert set(picks.indices[:2].tolist()) == {3, 11}
    assert picks.indices[2:].tolist() == [39, 38, 37]
    assert picks.scores[2:].tolist() == [0.0, 0.0, 0.0]


def test_empty_clusters_are_made_up_for_by_second_nearest_rows():
    x = np.repeat(np.array([[0.0], [7.0]], np.float32), 4, axis=0)
    picks = k_means_nearest(jax.random.key(0), x, np.ones(8, bool), batch_size=5)
    assert len(set(picks.indices.tolist())) == 5
    assert sorted((np.asarray(picks.indices[:2]) // 4).tolist()) == [0, 1]


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_clue_follows_uncertain_rows_only(temperature):
    # Four places; rows at two of them are certain, and one place has twice the rows.
    x = np.repeat(np.array([[0.0], [10.0], [20.0], [30.0]]), 5, axis=0)
    x = (x + np.tile(0.1 * np.arange(5), 4)[:, None]).astype(np.float32)
    logits = np.zeros((20, 2), np.float32)
    logits[5:15, 0] = 40.0  # nearly weightless: 10 and 20
    view = View(jnp.ones(20, bool), jnp.zeros(20, bool), logits=logits, features=x)
    clue = strategy("clue", temperature=temperature)
    picks = clue.select(jax.random.key(0), view, 2)
    assert sorted(picks.indices.tolist()) == [2, 17]  # the middles of 0 and 30
