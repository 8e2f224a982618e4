"""Looks along a fit: when, at what, what is kept of them, and where they end a fit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxal import classification_metrics, least_squares, make_pool, supervised, watch
from jaxal.models import mlp
from jaxal.training.watching import _num_due
from jaxal.training.weights import ema
from tests.toys import blobs, linear

INPUTS, LABELS = blobs(48, 3)
HELD_OUT = {"validation": blobs(30, 3, seed=1), "test": blobs(20, 3, seed=2)}
MODEL = linear(3)
RULE = optax.sgd(0.5)


def fit(watched, model=MODEL, rows=24, inputs=INPUTS, **settings):
    labels = np.where(np.arange(48) < rows, LABELS, -1)
    pool = make_pool(inputs, labels)
    settings = {"epochs": 6, "batch_size": 8} | settings
    learner = supervised(model, RULE, watch=watched, **settings)
    state = learner.init(jax.random.key(0), pool.inputs)
    return jax.jit(learner.fit)(jax.random.key(1), state, pool), learner, pool


@pytest.mark.parametrize("num_steps", [1, 2, 5, 29, 30, 31, 600, 2_000_000_000])
@pytest.mark.parametrize("num_looks", [1, 7, 30])
def test_looks_are_even_and_the_last_is_at_the_end(num_steps, num_looks):
    looks = min(num_looks, num_steps)
    due = [num_steps * (i + 1) // looks for i in range(looks)]
    near = np.unique(np.clip(np.add.outer(due, range(-looks - 1, looks + 2)), 0, None))
    steps = jnp.asarray(near[near <= num_steps], jnp.int32)
    found = np.asarray(
        _num_due(watch({}, num_looks=num_looks), steps, jnp.int32(num_steps))
    )
    assert found[-1] == looks and found[0] == 0
    at = np.asarray(steps)[1:][np.diff(found) > 0] if num_steps < 1000 else due
    gaps = np.diff([0, *at])
    assert gaps.max() - gaps.min() <= 1


def test_what_is_seen_is_what_a_shorter_fit_would_end_with():
    """Steps do not know how many there will be: the rule has no schedule."""
    (_, info), _, _ = fit(watch(HELD_OUT, num_looks=6))
    assert info.history["step"].tolist() == [3, 6, 9, 12, 15, 18]
    (short, told), _, _ = fit(None, epochs=4)
    for name, (inputs, labels) in HELD_OUT.items():
        logits = MODEL.apply(short, jnp.asarray(inputs))[0].logits
        expected = classification_metrics(logits, jnp.asarray(labels))
        for metric in ("accuracy", "nll", "ece"):
            seen = info.history[f"{name}/{metric}"][3]
            np.testing.assert_allclose(seen, getattr(expected, metric), rtol=1e-5)
    np.testing.assert_allclose(info.history["train/loss"][3], told.loss, rtol=1e-5)


@pytest.mark.parametrize(
    "by",
    ["validation/nll", pytest.param("validation/accuracy", marks=pytest.mark.slow)],
)
def test_the_best_weights_are_kept(by):
    wrong = {"validation": (HELD_OUT["validation"][0], (LABELS[:30] + 1) % 3)}
    (kept, info), learner, _ = fit(watch(wrong, num_looks=18, best_by=by))
    line = np.asarray(info.history[by])
    best = line.argmax() if by.endswith("accuracy") else line.argmin()
    assert best < 17  # learning is what makes it worse
    assert int(info.best_step) == best + 1
    found = learner.evaluate(kept, *map(jnp.asarray, wrong["validation"]))
    value = getattr(found, by.partition("/")[2])
    np.testing.assert_allclose(value, line[best], rtol=1e-5)


@pytest.mark.slow
def test_patience_ends_it_and_pieces_are_the_whole():
    wrong = {"validation": (HELD_OUT["validation"][0], (LABELS[:30] + 1) % 3)}
    plan = watch(wrong, num_looks=18, best_by="validation/nll", patience=3)
    (kept, info), learner, pool = fit(plan)
    assert int(info.num_steps) == int(info.best_step) + 3 < 18
    assert np.isnan(info.history["step"][int(info.num_steps) :]).all()
    state = learner.start(
        jax.random.key(1), learner.init(jax.random.key(0), INPUTS), pool
    )
    for _ in range(9):
        state = learner.advance(state, pool, 2)
    again, told = learner.finish(state, pool)
    jax.tree.map(np.testing.assert_array_equal, (kept, info), (again, told))


def test_nothing_labelled_leaves_what_was_given():
    plan = watch(HELD_OUT, best_by="validation/nll")
    (kept, info), learner, pool = fit(plan, rows=0)
    assert int(info.best_step) == 0
    given = learner.init(jax.random.key(0), pool.inputs)
    jax.tree.map(np.testing.assert_array_equal, kept, given)


@pytest.mark.slow
def test_members_are_watched_each():
    plan = watch(HELD_OUT, num_looks=3, best_by="validation/nll")
    (kept, info), _, _ = fit(plan, model=mlp(3, hidden=(4,)), members=2)
    assert info.best_step.shape == (2,)
    assert info.history["validation/nll"].shape == (3,)
    assert jax.tree.leaves(kept)[0].shape[0] == 2


def test_errors_of_a_regression_are_in_the_units_of_the_targets():
    inputs = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    targets = (1000 + 50 * inputs[:, 0]).astype(np.float32)
    from jaxal import regression_pool

    model = mlp(1, hidden=(8,))
    plan = watch({"test": (inputs, targets)}, num_looks=2)
    learner = supervised(model, epochs=20, task=least_squares, watch=plan)
    pool = regression_pool(inputs, targets)
    state = learner.init(jax.random.key(0), pool.inputs)
    state, info = jax.jit(learner.fit)(jax.random.key(1), state, pool)
    end = learner.evaluate(state, jnp.asarray(inputs), jnp.asarray(targets))
    np.testing.assert_allclose(info.history["test/rmse"][-1], end.rmse, rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_looks": 0}, "num_looks is 0"),
        ({"best_by": "validation/nll", "patience": 0}, "patience 0"),
        ({"patience": 2}, "Pass best_by"),
        ({"best_by": "nll"}, "Sets are: validation, test"),
    ],
)
def test_what_cannot_be_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        watch(HELD_OUT, **settings)


def test_metrics_that_are_not_there_are_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"Did you mean .*validation/nll"):
        fit(watch(HELD_OUT, best_by="validation/nl"))
    with pytest.raises(ValueError, match="Pass one"):
        supervised(
            MODEL, averaging=ema(), watch=watch(HELD_OUT, best_by="validation/nll")
        )
