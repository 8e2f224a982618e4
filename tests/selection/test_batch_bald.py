"""BatchBALD against enumeration of every joint answer, and its laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.selection.joint.batch_bald import batch_bald
from tests.reference import bayes as reference
from tests.reference.ties import Follow

KEY = jax.random.key(0)


def make(seed, num_samples=5, num_rows=12, num_classes=3):
    rng = np.random.default_rng(seed)
    mean = 2 * rng.normal(size=(1, num_rows, num_classes))
    noise = 2 * rng.normal(size=(num_samples, num_rows, num_classes))
    return (mean + noise).astype(np.float32), rng.random(num_rows) < 0.8


@pytest.mark.parametrize(("num_classes", "batch_size"), [(3, 4), (2, 5), (3, 1)])
def test_picks_equal_enumeration(num_classes, batch_size):
    for seed in range(12):
        logits, available = make(seed, num_classes=num_classes)
        rows, gains = reference.batch_bald(logits, available, batch_size)
        picks = batch_bald(KEY, logits, available, batch_size=batch_size)
        assert picks.indices.tolist() == rows
        np.testing.assert_allclose(picks.scores, gains, atol=2e-6)


def test_fewer_available_than_asked_for():
    logits, _ = make(3)
    available = np.arange(12) % 4 == 1
    picks = batch_bald(KEY, logits, available, batch_size=6, num_configurations=1)
    assert picks.is_valid.tolist() == [True] * 3 + [False] * 3
    assert sorted(picks.indices[:3].tolist()) == [1, 5, 9]
    assert picks.indices[3:].tolist() == [12] * 3
    assert jnp.isneginf(picks.scores[3:]).all()


def test_everything_available_is_picked_once():
    logits, available = make(4)
    picks = batch_bald(KEY, logits, available, batch_size=12, num_configurations=3)
    count = int(available.sum())
    assert picks.indices[:count].tolist() != sorted(picks.indices[:count].tolist())
    assert sorted(picks.indices[:count].tolist()) == np.flatnonzero(available).tolist()


def test_drawn_answers_agree_with_enumerated_ones():
    logits, available = make(5, num_samples=20, num_rows=40)
    sizes = {"num_configurations": 1, "num_draws": 20_000}
    drawn = batch_bald(KEY, logits, available, batch_size=5, **sizes)
    probs = reference.softmax(logits)
    rows = drawn.indices.tolist()
    exact = reference.batch_mutual_information(probs, rows)
    assert abs(float(drawn.scores.sum()) - exact) < 0.02
    exact_picks = batch_bald(KEY, logits, available, batch_size=5)
    best = reference.batch_mutual_information(probs, exact_picks.indices.tolist())
    assert exact > best - 0.02
    np.testing.assert_allclose(exact_picks.scores.sum(), best, atol=1e-5)


def test_estimates_average_to_the_truth_and_never_exceed_what_can_be_known():
    logits, available = make(6, num_samples=8, num_rows=10)
    run = jax.jit(
        lambda key: batch_bald(
            key, logits, available, batch_size=5, num_configurations=1, num_draws=8
        )
    )
    probs, errors = reference.softmax(logits), []
    for key in jax.random.split(KEY, 40):
        picks = run(key)
        exact = reference.batch_mutual_information(probs, picks.indices.tolist())
        errors.append(float(picks.scores.sum()) - exact)
    # One draw a sample is as noisy as it gets, and greedy prefers overestimates.
    assert abs(np.mean(errors)) < 0.15


def test_saturated_and_minus_infinite_logits():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, size=(6, 9))
    one_hot = np.where(np.arange(3) == labels[..., None], 0.0, -np.inf)
    available = np.ones(9, bool)
    for logits in (one_hot, np.where(one_hot == 0, 1e4, -1e4)):
        logits = logits.astype(np.float32)
        picks = batch_bald(KEY, logits, available, batch_size=9, num_configurations=9)
        assert np.isfinite(picks.scores).all()
        assert sorted(picks.indices.tolist()) == list(range(9))
        # Six deterministic networks: no more than log 6 nats to learn.
        assert float(picks.scores.sum()) < np.log(6) + 1e-4
        follow = Follow(picks.indices[:3], 1e-5)
        few = reference.batch_bald(np.maximum(logits, -1e4), available, 3, follow)
        np.testing.assert_allclose(picks.scores[:3], few[1], atol=1e-5)


def test_a_duplicate_adds_less_than_a_new_question():
    yes = jnp.array([[4.0, 4.0, 4.0, 1.0], [-4.0, -4.0, -4.0, -1.0]] * 2)
    yes = yes.at[:, 3].set(jnp.array([1.0, -1.0, -1.0, 1.0]))
    logits = jnp.stack([yes, -yes], axis=-1)
    picks = batch_bald(KEY, logits, jnp.ones(4, bool), batch_size=2)
    first, second = picks.indices.tolist()
    assert first in (0, 1, 2) and second == 3


def test_permuting_the_pool_permutes_the_picks():
    logits, available = make(7, num_rows=30)
    order = np.random.default_rng(1).permutation(30)
    sizes = {"batch_size": 8, "num_configurations": 3, "num_draws": 50}
    whole = batch_bald(KEY, logits, available, **sizes)
    moved = batch_bald(KEY, logits[:, order], available[order], **sizes)
    assert order[moved.indices].tolist() == whole.indices.tolist()


def test_vmap_equals_a_loop():
    pools = [make(seed) for seed in range(2)]
    logits, available = (jnp.stack(column) for column in zip(*pools, strict=True))
    keys = jax.random.split(KEY, 2)

    def select(key, logits, available):
        return batch_bald(key, logits, available, batch_size=3, num_configurations=3)

    together = jax.vmap(select)(keys, logits, available)
    for i in range(2):
        alone = select(keys[i], logits[i], available[i])
        assert together.indices[i].tolist() == alone.indices.tolist()


def test_gains_fall_and_lazy_bounds_lose_nothing():
    logits, available = make(8, num_samples=30, num_rows=1500)
    picks = batch_bald(KEY, logits, available, batch_size=5)
    assert (np.diff(picks.scores) <= 1e-6).all()
    probs = reference.softmax(logits)
    chosen = picks.indices.tolist()
    # The fourth pick again, by brute force over the pool.
    joint = reference.joint_probabilities(probs, chosen[:3])
    posterior = np.ones((27, 30))
    for i, labels in enumerate(np.ndindex(3, 3, 3)):
        for n, c in zip(chosen[:3], labels, strict=True):
            posterior[i] *= probs[:, n, c]
    given = posterior @ probs.transpose(1, 0, 2) / 30 / joint.reshape(-1, 1)
    entropies = -(given * np.log(given)).sum(-1) @ joint.reshape(-1)
    conditional = -(probs * np.log(probs)).sum(-1).mean(0)
    gains = np.where(available, entropies - conditional, -np.inf)
    gains[chosen[:3]] = -np.inf
    assert np.argmax(gains) == chosen[3]


def test_refusals_name_the_cure():
    logits, available = make(0)
    with pytest.raises(ValueError, match=r"\[S, N, C\]"):
        batch_bald(KEY, logits[0], available, batch_size=2)
    with pytest.raises(TypeError, match="static"):
        batch_bald(KEY, logits, available, batch_size=jnp.int32(2))
    with pytest.raises(ValueError, match="num_draws is 0"):
        batch_bald(KEY, logits, available, batch_size=2, num_draws=0)
