"""Pools of four rows in which anyone can see what is to be bought."""

import jax
import jax.numpy as jnp
import pytest

from jaxal import View, strategy

KEY = jax.random.key(0)
LINES = jnp.array([[3.0, 0.0], [2.9, 0.0], [0.0, 2.0], [0.1, 0.1]])


def look(labelled=(), **fields):
    is_labelled = jnp.array([row in labelled for row in range(4)])
    labels = jnp.where(is_labelled, 0, -1)
    return View(~is_labelled, is_labelled, labels=labels, **fields)


def two_classes(yes):
    """Logits `[..., 4, 2]` from the logit of the first class."""
    yes = jnp.asarray(yes, jnp.float32)
    return jnp.stack([yes, jnp.zeros_like(yes)], axis=-1)


# Members on columns of rows: all sure, two against two, nobody sure, all sure.
MEMBERS = two_classes([[4, 2, 0.1, -4], [4, 2, 0.1, -4], [4, -3, 0.1, -4]] * 2)
# Rows 0 and 1 ask the same question of four networks, row 2 another, row 3 none.
NETWORKS = two_classes([[3, 2.9, 2, 0], [3, 2.9, -2, 0]] + [[-3, -2.9, 2, 0]])
NETWORKS = jnp.concatenate([NETWORKS, two_classes([[-3, -2.9, -2, 0]])])
UNSURE = two_classes([0, 0, 0, 0])

CASES = [
    ("vote_entropy", {}, look(samples=MEMBERS), {1}),
    ("consensus_kl", {}, look(samples=MEMBERS), {1}),
    ("consensus_entropy", {}, look(samples=MEMBERS), {2}),
    ("bald", {}, look(samples=NETWORKS), {0}),
    # The target is row 2: what rows 0 and 1 would tell is nothing to it.
    ("epig", {"targets": jnp.array([2])}, look(samples=NETWORKS), {2}),
    ("bald", {}, look(samples=NETWORKS), {0, 1}),
    ("batch_bald", {}, look(samples=NETWORKS), {0, 2}),
    (
        "expected_gradient_length",
        {},
        look(
            logits=two_classes([9, 0, 0, 9]),
            features=jnp.array([[9.0, 0], [1, 0], [3, 0], [1, 0]]),
        ),
        {2},
    ),
    (
        "information_density",
        {},
        look(
            logits=two_classes([0.5, 0.6, 0, 9]),
            features=jnp.array([[1.0, 0], [1, 0], [-1, 0], [1, 0]]),
        ),
        {0},
    ),
    # Three rows learn from each other's labels, and row 0 from nobody's.
    (
        "expected_error_reduction",
        {"bias": False},
        look(logits=UNSURE, features=jnp.array([[0.0, 2], [2, 0], [2, 0], [2, 0]])),
        {(1,), (2,), (3,)},
    ),
    ("bait", {}, look(logits=UNSURE, features=LINES), {0, 2}),
    ("bait_top", {}, look(logits=UNSURE, features=LINES), {0, 2}),
    # Half the information a row: with the default, what is known of row 2 would do.
    (
        "bait_binary",
        {"regularization": 0.1},
        look(logits=UNSURE, features=LINES),
        {0, 2},
    ),
    ("bait_regression", {}, look(features=LINES), {0, 2}),
]


@pytest.mark.parametrize(
    ("name", "settings", "view", "expected"), CASES, ids=[case[0] for case in CASES]
)
def test_the_rows_one_sees_are_bought(name, settings, view, expected):
    is_choice = isinstance(next(iter(expected)), tuple)
    size = len(next(iter(expected))) if is_choice else len(expected)
    found = strategy(name, **settings).select(KEY, view, size).indices.tolist()
    if is_choice:
        assert tuple(sorted(found)) in expected
    else:
        assert set(found) == expected
