"""The last layer found again, and ALFA-Mix, DropQuery and VeSSAL against loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    Outer,
    View,
    drop_query,
    gradient_embedding,
    linear_head,
    strategy,
    vessal,
)
from jaxal.pools.mesh import Shard
from jaxal.selection.joint.alfa_mix import _Rows as MixRows
from jaxal.selection.joint.alfa_mix import mixing_reach
from jaxal.selection.joint.drop_query import _Rows as DropRows
from jaxal.selection.joint.drop_query import dropout_changes
from tests.reference import diverse as reference

NUM_ROWS, NUM_DIMS, NUM_CLASSES = 60, 6, 4
DRAWS = 5000


def layer(seed, kind="full"):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(NUM_ROWS, NUM_DIMS))
    if kind == "rank_deficient":
        features = features[:, :3] @ rng.normal(size=(3, NUM_DIMS))
    if kind == "dead_units":
        features[:, ::2] = 0
    if kind == "far_from_origin":
        features += 1e4
    if kind == "units_differ":
        features *= 10.0 ** np.arange(-3, NUM_DIMS - 3)
    weights = rng.normal(size=(NUM_CLASSES, NUM_DIMS))
    bias = rng.normal(size=NUM_CLASSES)
    features = features.astype(np.float32)
    return features, weights, bias, features.astype(np.float64) @ weights.T + bias


def test_equal_rows_say_nothing_of_a_layer():
    features, _, _, logits = (np.asarray(x, np.float32) for x in layer(0))
    same = [np.tile(x[:1], (NUM_ROWS, 1)) for x in (logits, features + 7)]
    head = linear_head(*same)
    assert not np.any(head.weights)
    found = without_mean(head.logits(same[1]))
    np.testing.assert_allclose(found, without_mean(same[0]), atol=1e-5)


KINDS = ("full", "rank_deficient", "dead_units", "far_from_origin", "units_differ")


def without_mean(logits):
    return logits - np.mean(logits, axis=-1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_layer_is_found_on_the_span_of_the_features(kind):
    for seed in range(6):
        features, weights, bias, logits = layer(seed, kind)
        given = logits if seed % 2 else np.asarray(jax.nn.log_softmax(logits))
        head = linear_head(given.astype(np.float32), features)
        mixed = np.random.default_rng(seed).dirichlet(np.ones(NUM_ROWS), 5) @ features
        expected = without_mean(mixed @ weights.T + bias)
        found = without_mean(head.logits(mixed.astype(np.float32)))
        scale = np.abs(without_mean(logits)).max()
        # Log-probabilities of 1e4 have lost as many digits before they are seen.
        tolerance = 2e-3 if kind == "far_from_origin" else 2e-5
        np.testing.assert_allclose(found, expected, atol=tolerance * scale)


def test_the_weights_themselves_are_found_up_to_a_constant_over_classes():
    features, weights, _, logits = layer(7)
    head = linear_head(logits.astype(np.float32), features)
    expected = weights - weights.mean(axis=0)
    np.testing.assert_allclose(head.weights, expected, atol=1e-5)


def test_units_that_hardly_vary_get_no_weights_out_of_rounding():
    features, _, _, logits = layer(4)
    features[:, 2] = 1e-12 * np.random.default_rng(4).normal(size=NUM_ROWS)
    head = linear_head(logits.astype(np.float32), features)
    np.testing.assert_array_equal(head.weights[:, 2], 0)


def test_across_the_span_the_head_is_flat():
    features, _, _, logits = layer(3, "dead_units")
    head = linear_head(logits.astype(np.float32), features)
    np.testing.assert_array_equal(head.weights[:, ::2], 0)


def test_rows_that_are_not_used_or_not_finite_do_not_matter():
    features, weights, _, logits = layer(5)
    logits = logits.astype(np.float32)
    logits[::7, 1] = -np.inf
    logits[1] = 1e6
    is_used = np.arange(NUM_ROWS) != 1
    head = linear_head(logits, features, is_used)
    np.testing.assert_allclose(head.weights, weights - weights.mean(0), atol=1e-5)


def test_with_fewer_rows_than_features_the_rows_are_fitted():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4, 9)).astype(np.float32)
    logits = rng.normal(size=(4, 3)).astype(np.float32)
    head = linear_head(logits, features)
    found = without_mean(head.logits(features))
    np.testing.assert_allclose(found, without_mean(logits), atol=1e-5)


@jax.jit
def reach_of(head, rows):
    return mixing_reach(Shard(None, 1, NUM_ROWS), head, rows)


def test_rows_change_with_the_anchors_as_when_mixtures_are_written_out():
    num_changed = 0
    for seed in range(30):
        features, weights, bias, logits = layer(seed)
        logits = logits.astype(np.float32)
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, NUM_ROWS)  # one class without an anchor
        is_labelled = rng.random(NUM_ROWS) < 0.2
        rows = MixRows(
            logits,
            jnp.asarray(features),
            jnp.asarray(np.where(is_labelled, labels, -1)),
            jnp.asarray(~is_labelled),
            jnp.asarray(is_labelled),
        )
        reach, has_anchor = reach_of(linear_head(logits, features), rows)
        assert bool(has_anchor) == bool(is_labelled.any())
        for level in (0.2, 0.6, 1.0):
            expected = reference.mixing_changes(
                weights, bias, features, labels, is_labelled, level / NUM_DIMS**0.5
            )
            is_clear = ~is_labelled & (np.abs(np.asarray(reach) - level) > 1e-4)
            changed = np.asarray(reach < level)
            np.testing.assert_array_equal(changed[is_clear], expected[is_clear])
            num_changed += expected[~is_labelled].sum()
    assert 500 < num_changed < 4500  # of 5400: the test could have failed


def line_of_rows():
    """Two classes that meet at zero; only rows 4 and 5 are near the boundary."""
    x = np.array([-9, -8, -7, -6, -0.1, 0.1, 6, 7, 8, 9], np.float32)
    features = np.stack([x, np.ones(10, np.float32)], axis=1)
    logits = np.stack([-x, x], axis=1)
    return features, logits


def test_alfa_mix_picks_rows_by_the_boundary():
    features, logits = line_of_rows()
    is_labelled = np.isin(np.arange(10), [0, 9])
    labels = np.where(is_labelled, np.arange(10) // 5, -1)
    view = View(
        jnp.asarray(~is_labelled),
        jnp.asarray(is_labelled),
        labels=jnp.asarray(labels),
        logits=logits,
        features=features,
    )
    for seed in range(4):
        picks = strategy("alfa_mix").select(jax.random.key(seed), view, 1)
        assert picks.indices.tolist()[0] in (4, 5)


def test_alfa_mix_without_labels_covers_the_pool():
    directions = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    view = View(
        jnp.ones(20, bool),
        jnp.zeros(20, bool),
        labels=jnp.full(20, -1),
        logits=directions @ np.ones((4, 3), np.float32),
        features=directions,
    )
    picks = strategy("alfa_mix").select(jax.random.key(0), view, 4)
    assert sorted((np.asarray(picks.indices) // 5).tolist()) == [0, 1, 2, 3]


def test_rows_change_with_dropout_as_often_as_all_masks_say():
    features, weights, bias, logits = layer(1)
    rows = DropRows(jnp.asarray(logits.astype(np.float32)), jnp.asarray(features))
    head = linear_head(*rows)
    count = partial(dropout_changes, num_dropouts=50, rate=0.75, mesh=None)
    keys = jax.random.split(jax.random.key(0), 40)
    found = np.mean(jax.vmap(lambda key: count(key, head, rows))(keys), axis=0) / 50
    expected = reference.dropout_change_probabilities(weights, bias, features, 0.75)
    deviation = np.sqrt(expected * (1 - expected) / 2000)
    np.testing.assert_array_less(np.abs(found - expected), 4.5 * deviation + 1e-6)
    assert np.ptp(expected) > 0.3


def test_drop_query_prefers_rows_that_rest_on_few_features():
    # Rows 10 to 19 are certain in every feature; the others hang on two that differ.
    features = np.full((20, 8), 4.0, np.float32)
    features[:10] = 0
    features[:10, 0], features[:10, 1] = -1.0, 1.2
    features += 1e-3 * np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    total = features.sum(axis=1)
    logits = np.stack([total, -total], axis=1)
    picks = drop_query(
        jax.random.key(0),
        features,
        np.ones(20, bool),
        batch_size=3,
        logits=logits,
        num_dropouts=9,
        rate=0.5,
    )
    assert max(picks.indices.tolist()) < 10


def test_vessal_takes_rows_as_often_as_the_paper_says():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(7, 3)).astype(np.float32)
    x[5] = x[1]
    found = reference.taken_probabilities(x, 3, 0.01)
    draw = jax.vmap(lambda key: vessal(key, x, jnp.ones(7, bool), batch_size=3))
    picks = draw(jax.random.split(jax.random.key(0), DRAWS))
    is_taken = np.asarray(picks.scores) > 0
    sets = [
        tuple(row[taken].tolist())
        for row, taken in zip(np.asarray(picks.indices), is_taken, strict=True)
    ]
    names = sorted(found)
    assert set(sets) <= set(names)
    counts = np.array([sets.count(name) for name in names])
    expected = DRAWS * np.array([found[name] for name in names])
    is_likely = expected > 5
    statistic = np.sum((counts - expected)[is_likely] ** 2 / expected[is_likely])
    degrees = is_likely.sum()
    assert degrees > 15
    assert statistic < degrees + 4 * np.sqrt(2 * degrees)
    assert sum(map(len, sets)) / DRAWS == pytest.approx(
        sum(len(name) * chance for name, chance in found.items()), abs=0.03
    )


def test_vessal_of_an_outer_product_is_that_of_rows_written_out():
    rng = np.random.default_rng(4)
    a, h = rng.normal(size=(40, 3)), rng.normal(size=(40, 5))
    rows = Outer(jnp.asarray(a, jnp.float32), jnp.asarray(h, jnp.float32))
    whole = np.einsum("nc,nd->ncd", a, h).reshape(40, -1).astype(np.float32)
    free = np.arange(40) % 6 > 0
    for seed in range(3):
        key = jax.random.key(seed)
        one = vessal(key, rows, free, batch_size=8)
        other = vessal(key, whole, free, batch_size=8)
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3)


def test_vessal_in_a_projection_prefers_long_gradients():
    rng = np.random.default_rng(5)
    features = rng.normal(size=(200, 16)).astype(np.float32)
    logits = 8 * rng.normal(size=(200, 6)).astype(np.float32)
    rows = gradient_embedding(logits, features)
    norms = np.asarray(rows.sqnorm())
    picks = vessal(
        jax.random.key(0), rows, np.ones(200, bool), batch_size=20, num_dims=24
    )
    assert len(set(picks.indices.tolist())) == 20
    assert norms[picks.indices].mean() > 1.5 * norms.mean()
