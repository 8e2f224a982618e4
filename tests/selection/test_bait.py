"""BAIT against explicit inverses, exact and approximated Fisher information, laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.selection.joint.bait import bait
from jaxal.selection.joint.fisher import (
    FisherEmbedding,
    fisher_embedding,
    fisher_sum,
    project,
    quadratic,
    written_out,
)
from tests.reference import bayes as reference

KEY = jax.random.key(0)


def make(seed, num_rows=14, num_classes=3, width=3):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(num_rows, num_classes))
    features = 2 * rng.normal(size=(num_rows, width))
    role = rng.random(num_rows)
    columns = logits.astype(np.float32), features.astype(np.float32)
    return *columns, role < 0.7, role > 0.85


def columns_of(logits, features, approximation):
    probs = reference.softmax(logits)
    return [
        reference.fisher_columns(p, h.astype(np.float64), approximation)
        for p, h in zip(probs, features, strict=True)
    ]


@pytest.mark.parametrize("approximation", ["full", "top", "binary"])
def test_picks_equal_explicit_inverses(approximation):
    for seed in range(15):
        logits, features, available, labelled = make(seed)
        columns = columns_of(logits, features, approximation)
        rows, gains = reference.bait(columns, available, labelled, 3, 0.5)
        fisher = fisher_embedding(logits, features, approximation=approximation)
        picks = bait(KEY, fisher, available, labelled, batch_size=3, regularization=0.5)
        assert picks.indices.tolist() == rows
        np.testing.assert_allclose(picks.scores, gains, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("approximation", ["full", "top", "binary"])
def test_factors_are_those_of_the_papers(approximation):
    logits, features, *_ = make(1, num_classes=4)
    fisher = fisher_embedding(logits, features, approximation=approximation)
    for n, expected in enumerate(columns_of(logits, features, approximation)):
        found = written_out(fisher.outputs[n], fisher.features[n])
        np.testing.assert_allclose(found, expected, atol=1e-5)
        if approximation == "full":
            probs = reference.softmax(logits[n])
            whole = reference.fisher_matrix(probs, features[n])
            np.testing.assert_allclose(found @ found.T, whole, atol=1e-4)


def test_products_equal_those_written_out():
    logits, features, available, _ = make(2)
    fisher = fisher_embedding(logits, features)
    columns = np.stack(columns_of(logits, features, "full"))
    size = columns.shape[1]
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(size, size)).astype(np.float32)
    matrix = jnp.asarray(matrix + matrix.T)
    other = jnp.asarray(rng.normal(size=(size, 5)), jnp.float32)
    expected = np.einsum("npr,pq,nqs->nrs", columns, matrix, columns)
    np.testing.assert_allclose(quadratic(fisher, matrix), expected, atol=2e-4)
    expected = np.einsum("npr,pq->nrq", columns, other)
    np.testing.assert_allclose(project(fisher, other), expected, atol=1e-4)
    expected = np.einsum("n,npr,nqr->pq", available, columns, columns)
    found = fisher_sum(fisher, jnp.asarray(available, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_fewer_available_than_asked_for(count):
    logits, features, _, _ = make(3)
    available, labelled = np.arange(14) < count, np.arange(14) > 11
    fisher = fisher_embedding(logits, features)
    picks = bait(KEY, fisher, available, labelled, batch_size=4)
    assert picks.is_valid.tolist() == [i < count for i in range(4)]
    found = picks.indices[: min(4, count)].tolist()
    assert len(set(found)) == min(4, count) and max(found) < count
    assert picks.indices[count:].tolist() == [14] * max(0, 4 - count)
    assert jnp.isneginf(picks.scores[count:]).all()


def test_one_hot_predictions_duplicates_and_the_whole_pool():
    logits, features, _, labelled = make(4)
    certain = np.where(np.arange(3) == 1, 0.0, -np.inf) + 0 * logits
    copies = np.repeat(features[:1], 14, axis=0)
    for given, seen in ((certain, features), (logits, copies)):
        for approximation in ("full", "top", "binary"):
            fisher = fisher_embedding(
                given.astype(np.float32), seen, approximation=approximation
            )
            picks = bait(KEY, fisher, ~labelled, labelled, batch_size=14)
            assert np.isfinite(picks.scores[picks.is_valid]).all()
            taken = picks.indices[picks.is_valid].tolist()
            assert sorted(taken) == np.flatnonzero(~labelled).tolist()


def test_long_batches_stay_accurate_in_single_precision():
    logits, features, _, labelled = make(5, num_rows=60, num_classes=2)
    available = ~labelled
    columns = columns_of(10 * logits, 10 * features, "full")
    rows, _ = reference.bait(columns, available, labelled, 12, 1.0)
    fisher = fisher_embedding(10 * logits, 10 * features)
    picks = bait(KEY, fisher, available, labelled, batch_size=12)
    assert len(set(picks.indices.tolist()) & set(rows)) >= 11


def test_regression_heads_and_permutations():
    _, features, available, labelled = make(6)
    fisher = FisherEmbedding(jnp.ones((14, 1, 1)), jnp.asarray(features))
    picks = bait(KEY, fisher, available, labelled, batch_size=3)
    columns = [h.astype(np.float64)[:, None] for h in features]
    assert (
        picks.indices.tolist()
        == reference.bait(columns, available, labelled, 3, 1.0)[0]
    )
    order = np.random.default_rng(1).permutation(14)
    moved = bait(
        KEY,
        jax.tree.map(lambda x: x[order], fisher),
        available[order],
        labelled[order],
        batch_size=3,
    )
    assert order[moved.indices].tolist() == picks.indices.tolist()


def test_vmap_equals_a_loop():
    pools = [make(seed) for seed in range(3)]
    columns = [jnp.stack(column) for column in zip(*pools, strict=True)]

    def select(logits, features, available, labelled):
        fisher = fisher_embedding(logits, features, approximation="binary")
        return bait(KEY, fisher, available, labelled, batch_size=3).indices

    together = jax.vmap(select)(*columns)
    for i in range(3):
        alone = select(*(column[i] for column in columns))
        assert together[i].tolist() == alone.tolist()


def test_refusals_name_the_cure():
    logits, features, available, labelled = make(0)
    with pytest.raises(ValueError, match="expected one of"):
        fisher_embedding(logits, features, approximation="diagonal")
    with pytest.raises(ValueError, match="the classes in logits"):
        fisher_embedding(logits, features, approximation="top", num_classes=4)
    with pytest.raises(TypeError, match="Make one with fisher_embedding"):
        bait(KEY, features, available, labelled, batch_size=2)
