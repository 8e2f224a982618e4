"""k-center against a float64 loop over picks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.embeddings import Concatenated, Dense, Embedding, Outer, Scaled
from jaxal.selection import K_CENTER, blocked_selection, k_center
from tests.reference import selection as reference
from tests.reference.ties import Follow


def test_worked_example():
    x = jnp.array([[0.0], [4.0], [10.0], [7.0]])
    is_labelled = jnp.array([True, False, False, False])
    selection = k_center(jax.random.key(0), x, ~is_labelled, is_labelled, batch_size=3)
    # Row 2 is farthest from row 0 (100); then row 1 is 16 from row 0 and 36 from
    # row 2, row 3 is 9 from row 2; then row 3 is 9 from both.
    assert selection.indices.tolist() == [2, 1, 3]
    assert selection.scores.tolist() == [100.0, 16.0, 9.0]


NUM_ROWS, NUM_DIMS, BATCH_SIZE = 600, 16, 60


def run(x, is_available, is_labelled, weights=None, num_candidates=8):
    """Every test the same shapes, so that they share one compilation."""
    weights = np.ones(NUM_ROWS) if weights is None else weights
    return blocked_selection(
        K_CENTER,
        jax.random.key(0),
        x if isinstance(x, Embedding) else jnp.asarray(x, jnp.float32),
        jnp.asarray(is_available),
        jnp.asarray(is_labelled),
        batch_size=BATCH_SIZE,
        weights=jnp.asarray(weights, jnp.float32),
        first="largest_norm",
        num_candidates=num_candidates,
    )


def labelled(num):
    is_labelled = np.random.default_rng(0).permutation(NUM_ROWS) < num
    return ~is_labelled, is_labelled


@pytest.mark.parametrize(
    ("num_labelled", "is_weighted", "num_candidates"),
    [(0, False, 8), (30, True, 8), (1, False, NUM_ROWS)],
)
def test_integers_give_picks_the_loop_might_make(
    num_labelled, is_weighted, num_candidates
):
    rng = np.random.default_rng(num_labelled)
    x = np.zeros((NUM_ROWS, NUM_DIMS), int)
    x[:, :3] = rng.integers(-6, 7, size=(NUM_ROWS, 3))
    weights = rng.integers(1, 4, size=NUM_ROWS) if is_weighted else np.ones(NUM_ROWS)
    is_available, is_labelled = labelled(num_labelled)
    is_available &= rng.random(NUM_ROWS) < 0.9
    selection, _ = run(x, is_available, is_labelled, weights, num_candidates)
    picks = selection.indices.tolist()
    follow = Follow(picks)  # each is among the farthest, by the float64 loop
    masks = is_available, is_labelled
    assert reference.k_center(x, *masks, BATCH_SIZE, weights, follow) == picks


@pytest.mark.parametrize(("spread", "most_passes"), [(0.0, 20), (1.0, 20), (20.0, 30)])
def test_covering_radius_is_that_of_the_loop_in_fewer_passes(spread, most_passes):
    rng = np.random.default_rng(1)
    places = spread * rng.normal(size=(10, NUM_DIMS))
    x = rng.normal(size=(NUM_ROWS, NUM_DIMS)) + places[np.arange(NUM_ROWS) % 10]
    x = x.astype(np.float32)
    is_available, is_labelled = labelled(3)
    expected = reference.k_center(x, is_available, is_labelled, BATCH_SIZE)
    selection, passes = run(x, is_available, is_labelled)
    np.testing.assert_allclose(
        reference.covering_radius(x, is_labelled, selection.indices.tolist()),
        reference.covering_radius(x, is_labelled, expected),
        rtol=1e-6,
    )
    centres = [*np.flatnonzero(is_labelled), *expected[:-1]]
    np.testing.assert_allclose(
        selection.scores[-1], reference.nearest(x, centres)[expected[-1]], rtol=1e-4
    )
    assert BATCH_SIZE / 8 <= int(passes) <= most_passes


def naive_k_center(x, batch_size):
    """The same loop with `|x|^2 + |y|^2 - 2 <x, y>` in float32, rows as they come."""
    x = np.asarray(x, np.float32)
    norms = np.sum(x * x, axis=-1)
    nearest, picks = np.full(len(x), np.inf, np.float32), [int(np.argmax(norms))]
    while len(picks) < batch_size:
        centre = picks[-1]
        nearest = np.minimum(nearest, norms + norms[centre] - 2 * (x @ x[centre]))
        nearest[picks] = -1
        picks.append(int(np.argmax(nearest)))
    return picks


FAR = 3000.0


def far_rows():
    x = np.random.default_rng(2).normal(size=(NUM_ROWS, NUM_DIMS)) + FAR
    return x.astype(np.float32)


def factors():
    # Small enough that rows do not lie on a ray, with all distances along it.
    steps = np.random.default_rng(4).normal(size=NUM_ROWS)
    return (1 + 1e-4 * steps).astype(np.float32)


def wide(x):
    return np.asarray(x, np.float64)


EMBEDDINGS = {
    "dense": lambda x, f: (Dense(x), wide(x)),
    "scaled": lambda x, f: (Scaled(Dense(x), f), wide(x) * wide(f)[:, None]),
    "concatenated": lambda x, f: (
        Concatenated((Scaled(Dense(x), f), Dense(x[:, :2]))),
        np.concatenate([wide(x) * wide(f)[:, None], wide(x[:, :2])], axis=-1),
    ),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_cancellation_far_from_the_origin_reorders_no_picks(name):
    x, f = jnp.asarray(far_rows()), jnp.asarray(factors())
    free, nobody = labelled(0)
    rows, plain = EMBEDDINGS[name](x, f)
    expected = reference.k_center(plain, free, nobody, BATCH_SIZE)
    selection, _ = run(rows, free, nobody)
    assert selection.indices.tolist() == expected
    assert naive_k_center(plain, BATCH_SIZE) != expected  # there was something to lose


def test_outer_products_keep_what_digits_their_norms_leave():
    # No origin is known for them, so the features lie nearer: at 10 the squares of
    # norms are 100 times those of distances, and cost two digits of seven.
    x = jnp.asarray(far_rows() - (FAR - 10))
    a = jnp.asarray(np.random.default_rng(5).normal(size=(NUM_ROWS, 2)), jnp.float32)
    plain = (wide(a)[:, :, None] * wide(x)[:, None, :]).reshape(NUM_ROWS, -1)
    free, nobody = labelled(0)
    expected = reference.k_center(plain, free, nobody, BATCH_SIZE)
    selection, _ = run(Outer(a, x), free, nobody)
    np.testing.assert_allclose(
        reference.covering_radius(plain, nobody, selection.indices.tolist()),
        reference.covering_radius(plain, nobody, expected),
        rtol=1e-3,
    )
    centres = expected[:20]
    np.testing.assert_allclose(
        selection.scores[20], reference.nearest(plain, centres).max(), rtol=1e-3
    )


def test_one_row_far_away_does_not_blur_the_others():
    x = np.random.default_rng(3).normal(size=(NUM_ROWS, NUM_DIMS)).astype(np.float32)
    x[17] = 1e5
    is_available, is_labelled = labelled(1)
    expected = reference.k_center(x, is_available, is_labelled, BATCH_SIZE)
    selection, _ = run(x, is_available, is_labelled)
    assert selection.indices.tolist() == expected
