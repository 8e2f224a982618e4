"""ALBL: its rewards, its weights, and a memory that survives scan and the loop."""

import json
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    View,
    active_learner,
    array_oracle,
    by_score,
    make_pool,
    pool_mesh,
    seed_axes,
    strategy,
    supervised,
)
from tests.cases_picks import MASKS, POOLS, masks
from tests.dying import Death
from tests.reference import combinators as reference
from tests.runs.test_resume import make_experiment, results, run, run_until_killed
from tests.selection.test_laws import check_laws
from tests.toys import blobs, linear

KEY = jax.random.key(0)
FIRST, LAST = by_score(lambda x: x[:, 0]), by_score(lambda x: x[:, 1])
ALBL = strategy("albl", strategies=(FIRST, LAST), horizon=10, delta=0.2)
LEAST = math.sqrt(math.log(3) / 30)


def line_view():
    """20 rows; FIRST likes the lowest and LAST the highest; 3 of them labelled."""
    row = jnp.arange(20.0)
    logits = jnp.stack([-row, row], axis=1)
    is_labelled = jnp.isin(jnp.arange(20), jnp.array([4, 5, 15]))
    labels = jnp.where(is_labelled, 1, -1)
    return View(~is_labelled, is_labelled, labels, logits)


def test_the_estimate_of_accuracy_has_no_bias():
    view, right = line_view(), jnp.arange(20) % 3 == 0

    def estimate(key):
        _, memory = ALBL.step(key, view, ALBL.init(20), 4)
        return jnp.sum(memory.importance * right)

    found = np.asarray(jax.vmap(estimate)(jax.random.split(KEY, 4000)))
    truth = float(jnp.sum(right & view.is_available) / jnp.sum(view.is_available))
    error = found.std() / math.sqrt(len(found))
    assert abs(found.mean() - truth) < 4 * error < 0.1


def test_weights_follow_exp4p_and_rewards_the_weighted_accuracy():
    view, memory = line_view(), ALBL.init(20)
    weights, batches = np.ones(3), []
    for i in range(5):
        key = jax.random.key(i)
        picks, known = ALBL.step(key, view, memory, 3)
        if i:
            is_right = np.asarray(view.labels) == np.argmax(view.logits, axis=1)
            reward = reference.weighted_accuracy(batches, is_right)
            weights, probs = reference.exp4p(
                weights, memory.chances, int(memory.arm), reward, LEAST, 0.2, 10
            )
            np.testing.assert_allclose(known.chances, probs, rtol=1e-4)
        num_free = int(view.is_available.sum())
        rows = np.asarray(picks.indices)
        free = np.flatnonzero(view.is_available)
        arms = [None, free[:3], free[-3:]]
        odds = [
            known.chances[0] * 3 / num_free
            + sum(known.chances[e] for e in (1, 2) if row in arms[e])
            for row in rows
        ]
        np.testing.assert_allclose(picks.scores, odds, rtol=1e-5)
        if int(known.arm):
            assert set(rows) == set(arms[int(known.arm)])
        batches.append((rows, odds, num_free))
        memory = known
        is_new = np.isin(np.arange(20), rows)
        view = view._replace(
            is_available=view.is_available & ~is_new,
            is_labelled=view.is_labelled | is_new,
            labels=jnp.where(is_new, jnp.arange(20) % 2, view.labels),
        )
    assert int(memory.num_rounds) == 5


def test_what_earns_is_drawn_more_often():
    view = line_view()
    memory = ALBL.init(20)._replace(chances=jnp.full(3, 1 / 3))
    # All that was bought is right and weighs as much as the pool.
    importance = jnp.where(view.is_labelled, 1 / 3, 0.0)
    logits = jnp.stack([jnp.zeros(20), jnp.ones(20)], axis=1)
    for arm in range(3):
        before = memory._replace(
            arm=jnp.int32(arm), num_rounds=jnp.int32(1), importance=importance
        )
        _, after = ALBL.step(KEY, view._replace(logits=logits), before, 3)
        assert int(jnp.argmax(after.chances)) == arm
        worst = before._replace(importance=jnp.zeros(20))
        _, same = ALBL.step(KEY, view._replace(logits=logits), worst, 3)
        np.testing.assert_allclose(same.chances, 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("kind", MASKS)
def test_laws(kind):
    is_available, is_labelled = masks(kind)
    labels = jnp.where(is_labelled, jnp.arange(40) % 3, -1)
    for x in POOLS.values():
        if x.dtype == np.float32:
            args = map(jnp.asarray, (is_available, is_labelled, labels, x))
            check_laws(ALBL.select(KEY, View(*args), 9), is_available)


INPUTS, LABELS = blobs(40, 3)
MODEL = linear(3)
LEARNER = supervised(MODEL, epochs=2, batch_size=8)


def a_loop():
    loop = active_learner(MODEL, LEARNER, ALBL, array_oracle(LABELS), batch_size=3)
    pool = make_pool(INPUTS, mesh=pool_mesh(jax.devices()[:1]))
    return loop, loop.init(KEY, pool, initial=4)


@pytest.mark.slow
def test_memory_goes_from_round_to_round_in_scan_and_under_vmap_as_in_the_loop():
    loop, state = a_loop()
    keys = jax.random.split(KEY, 3)
    expected = state
    for key in keys:
        expected, _ = loop.step(key, expected)
    assert int(expected.memory.num_rounds) == 3
    bought = (expected.pool.is_labelled & ~state.pool.is_labelled).sum()
    assert int((expected.memory.importance > 0).sum()) == int(bought) == 9

    def rounds(state, keys):
        return jax.lax.scan(lambda s, k: (loop.step(k, s)[0], None), state, keys)[0]

    chex.assert_trees_all_close(rounds(state, keys).memory, expected.memory, rtol=1e-4)
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    stacked = stacked._replace(pool=stacked.pool._replace(inputs=state.pool.inputs))
    axes = seed_axes(stacked)
    step = jax.vmap(lambda key, state: loop.step(key, state)[0], (None, axes), axes)
    first, _ = loop.step(keys[0], state)
    both = step(keys[0], stacked).memory
    chex.assert_trees_all_close(
        jax.tree.map(lambda x: x[1], both), first.memory, rtol=1e-4
    )


def test_there_is_something_to_choose_from():
    with pytest.raises(ValueError, match="expected at least one strategy"):
        strategy("albl", strategies=())


def scores_in(folder):
    lines = (folder / "queries.jsonl").read_text().splitlines()
    return [json.loads(line)["score"] for line in lines]


@pytest.mark.slow
def test_memory_survives_a_run_that_is_killed(tmp_path):
    made = make_experiment(strategy=ALBL)
    whole, death = tmp_path / "whole", Death(None)
    run(made, whole, death)
    assert len(set(scores_in(whole))) > 3  # memory has changed the chances
    last = max(i for i, name in enumerate(death.names) if name == "score")
    run_until_killed(made, tmp_path / "killed", last)  # two batches are in memory
    run(made, tmp_path / "killed")
    # Scores in queries.jsonl are chances, which memory decides.
    assert results(tmp_path / "killed") == results(whole)
