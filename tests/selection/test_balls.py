"""ProbCover and DCoM against float64 loops over picks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.selection import dcom, k_means, prob_cover, purity_radius
from tests.cases_picks import mesh_of
from tests.reference import coverage as reference
from tests.reference.ties import Follow

NUM_ROWS, BATCH_SIZE = 303, 40
CLASSES = 4


def pool(seed, part_labelled=0.05):
    """Integer rows in clumps of different density; some labelled, some padding."""
    rng = np.random.default_rng(seed)
    places = rng.integers(-30, 31, size=(9, 3))
    which = np.minimum(rng.geometric(0.25, size=NUM_ROWS) - 1, 8)
    x = places[which] + rng.integers(-3, 4, size=(NUM_ROWS, 3))
    state = rng.random(NUM_ROWS)
    is_labelled = state < part_labelled
    is_available = ~is_labelled & (state < 0.95)
    return x.astype(np.float32), is_available, is_labelled, which % CLASSES


def check_prob_cover(x, is_available, is_labelled, radius, mesh=None):
    masks = jnp.asarray(is_available), jnp.asarray(is_labelled)
    found = prob_cover(
        jax.random.key(0), x, *masks, batch_size=BATCH_SIZE, radius=radius, mesh=mesh
    )
    follow = Follow(found.indices)  # each is among those of the largest degree
    picks, gains = reference.prob_cover(
        x, is_available, is_labelled, BATCH_SIZE, radius, follow
    )
    num = len(picks)
    assert found.scores[:num].tolist() == gains
    target = min(BATCH_SIZE, int(is_available.sum()))
    assert (found.scores[num:target] == 0).all()
    taken = found.indices[:target].tolist()
    assert len(set(taken)) == target and is_available[taken].all()
    assert (found.indices[target:] == NUM_ROWS).all()
    return num


def test_prob_cover_by_looking():
    # A clump of four, one of three, a pair; the pair's first row is labelled.
    x = jnp.array([0.0, 1.0, 1.1, 2.0, 10.0, 11.0, 12.0, 30.0, 30.5])[:, None]
    is_labelled = jnp.arange(9) == 7
    picks = prob_cover(
        jax.random.key(0), x, ~is_labelled, is_labelled, batch_size=3, radius=1.0
    )
    assert picks.indices[:2].tolist() == [1, 5]
    assert picks.scores.tolist() == [4.0, 3.0, 0.0]


def test_prob_cover_is_what_the_loop_might_be():
    ended_early = 0
    for seed in range(30):
        rows = pool(seed, part_labelled=0.05 * (seed % 3))[:3]
        for radius in (0.0, 1.8, 3.3, 7.0):
            ended_early += check_prob_cover(*rows, radius) < BATCH_SIZE
    assert 0 < ended_early < 120


def test_prob_cover_with_few_rows_left_or_none():
    x, _, _, _ = pool(0)
    row = np.arange(NUM_ROWS)
    check_prob_cover(x, row < 5, row >= 200, 2.0)
    check_prob_cover(x, row < 0, row >= 0, 2.0)


@pytest.mark.slow
@pytest.mark.sharded
def test_devices_change_no_pick():
    for seed in range(3):
        check_prob_cover(*pool(seed)[:3], 2.5, mesh_of(4))
    spread, alone = run_dcom(1, mesh=mesh_of(4))[0], run_dcom(1)[0]
    assert spread.indices.tolist() == alone.indices.tolist()


def test_rows_that_cover_nothing_new_are_taken_at_random():
    x = jnp.zeros((NUM_ROWS, 3))
    free, nobody = jnp.ones(NUM_ROWS, bool), jnp.zeros(NUM_ROWS, bool)
    select = functools.partial(prob_cover, batch_size=BATCH_SIZE, radius=1.0)
    keys = jax.random.split(jax.random.key(0), 12)
    draws = np.concatenate([select(k, x, free, nobody).indices[1:] for k in keys])
    assert np.bincount(draws, minlength=NUM_ROWS).max() <= 8  # each 1.5 on average


def test_purity_radius_is_the_largest_of_that_purity():
    for seed in range(6):
        x, is_available, is_labelled, _ = pool(seed)
        is_used = is_available | is_labelled
        key = jax.random.key(seed)
        radius = float(purity_radius(key, x, jnp.asarray(is_used), num_classes=4))
        groups = k_means(
            jax.random.split(key)[0],
            jnp.asarray(x),
            jnp.asarray(is_used),
            num_clusters=4,
        ).assignment
        groups = np.asarray(groups)
        assert reference.purity(x, groups, is_used, radius) >= 0.95
        assert reference.purity(x, groups, is_used, radius * (1 + 1e-5)) < 0.95


def run_dcom(seed, part_labelled=0.1, mesh=None, **changes):
    x, is_available, is_labelled, classes = pool(seed, part_labelled)
    rng = np.random.default_rng(seed + 1000)
    predictions = np.where(rng.random(NUM_ROWS) < 0.8, classes, 0)
    settings = {
        "uncertainty": rng.random(NUM_ROWS).astype(np.float32),
        "labels": np.where(is_labelled, classes, -1),
        "predictions": predictions,
        "initial_radius": 3.3,
        "max_radius": 20.3,
        "num_halvings": 6,
        "centre": 0.8,
        "steepness": 5.0,
    } | changes
    found = dcom(
        jax.random.key(0),
        x,
        jnp.asarray(is_available),
        jnp.asarray(is_labelled),
        batch_size=BATCH_SIZE,
        mesh=mesh,
        **settings,
    )
    expected = reference.dcom(x, is_available, is_labelled, BATCH_SIZE, **settings)
    return found, settings, expected


def test_dcom_is_the_loop():
    mixed = 0
    for seed in range(30):
        found, _, (picks, worths, leads) = run_dcom(seed, 0.1 * (seed % 3))
        # Two rows whose sums are as close as rounding may come in either order.
        sure = np.argmax(np.append(np.array(leads) < 1e-5, True))
        assert sure >= 5
        assert found.indices[:sure].tolist() == picks[:sure]
        np.testing.assert_allclose(found.scores[:sure], worths[:sure], rtol=1e-4)
        mixed += worths[0] < 1 - 1e-6  # neither the densest nor the most uncertain
    assert mixed > 5


def test_dcom_covers_when_it_knows_nothing_and_doubts_when_all_is_covered():
    for steepness, centre in ((1e5, 0.99), (5.0, -40.0)):
        found, settings, _ = run_dcom(3, steepness=steepness, centre=centre)
        x, is_available, is_labelled, _ = pool(3, 0.1)
        if centre < 0:
            doubts = np.where(is_available, settings["uncertainty"], -1)
            expected = np.argsort(-doubts, kind="stable")[:BATCH_SIZE]
            assert found.indices.tolist() == expected.tolist()
        else:
            assert float(found.scores[0]) == 1.0  # the densest row, of density one


def test_refusals():
    x, free = jnp.zeros((4, 2)), jnp.ones(4, bool)
    with pytest.raises(ValueError, match="one number for each row"):
        dcom(
            jax.random.key(0),
            x,
            free,
            ~free,
            batch_size=1,
            uncertainty=jnp.zeros(3),
            labels=jnp.zeros(4, int),
            predictions=jnp.zeros(4, int),
        )
