"""Rows that nobody answers, in a loop: when they are asked again, and when no more."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    Refusals,
    active_learner,
    array_oracle,
    make_pool,
    seed_axes,
    strategy,
    supervised,
)
from jaxal.models import logistic_regression
from jaxal.runs import run

INPUTS = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
LABELS = np.where(np.arange(40) % 3 == 0, -1, INPUTS[:, 0] > 0)  # a third is refused
SHY = set(np.flatnonzero(LABELS < 0).tolist())


def a_loop(refusals, **settings):
    model = logistic_regression(2)
    settings = {"batch_size": 4, "oracle": array_oracle(jnp.asarray(LABELS))} | settings
    return active_learner(
        model,
        supervised(model, epochs=1, min_steps=1),
        strategy("margin"),
        refusals=refusals,
        **settings,
    )


def asked_by_round(loop, state, rounds):
    found = []
    for index in range(rounds):
        state, asked, _ = loop.ask(jax.random.key(index), state)
        state = loop.tell(state, asked, LABELS[asked.indices])
        found.append(np.asarray(asked.indices).tolist())
    return found, state


@pytest.mark.parametrize(
    "rule", [Refusals(1, 2), Refusals(2, None), Refusals(0, 1), Refusals(0, 3)]
)
def test_a_refused_row_rests_and_is_withdrawn_in_the_end(rule):
    loop = a_loop(rule)
    state = loop.init(jax.random.key(0), make_pool(INPUTS), initial=4)
    rounds, state = asked_by_round(loop, state, 7)
    initial = np.flatnonzero(np.asarray(state.refused.times)[:40]).tolist()
    asked = {row: [i for i, rows in enumerate(rounds) if row in rows] for row in SHY}
    assert any(len(when) > 1 for when in asked.values()) or rule.most == 1
    for when in asked.values():
        assert all(np.diff(when) > rule.rest)
        assert rule.most is None or len(when) <= rule.most
    times = np.asarray(state.refused.times)[:40]
    assert set(initial) <= SHY and not times[LABELS >= 0].any()
    gone = ~np.asarray(state.pool.is_valid)[:40]
    np.testing.assert_array_equal(gone, times >= (rule.most or 99))


def test_rows_refused_at_the_start_rest_too():
    loop = a_loop(Refusals(1, 3))
    state = loop.init(jax.random.key(0), make_pool(INPUTS), initial=[0, 3, 4, 5])
    assert np.flatnonzero(np.asarray(state.refused.times)).tolist() == [0, 3]
    rounds, _ = asked_by_round(loop, state, 1)
    assert not {0, 3} & set(rounds[0])


def test_nobody_rests_when_nothing_else_is_there_and_the_pool_ends():
    loop = a_loop(Refusals(9, 2), batch_size=20)
    state = loop.init(jax.random.key(0), make_pool(INPUTS), initial=4)
    rounds, state = asked_by_round(loop, state, 6)
    counts = [row for rows in rounds for row in rows]
    assert max(counts.count(row) for row in SHY) == 2
    assert rounds[-1] == [] and not state.pool.is_available.any()
    assert int(state.pool.is_labelled.sum()) == 40 - len(SHY)


@pytest.mark.parametrize("how", ["eager", "jit", "scan", "vmap"])
def test_steps_say_the_same_however_they_are_compiled(how):
    loop = a_loop(Refusals(1, 2))
    keys = jax.random.split(jax.random.key(1), 5)
    begin = partial(loop.init, pool=make_pool(INPUTS), initial=4)
    plain = begin(jax.random.key(0))
    for key in keys:
        plain, _ = loop.step(key, plain)
    state = begin(jax.random.key(0))
    if how in ("eager", "jit"):
        step = jax.jit(loop.step) if how == "jit" else loop.step
        for key in keys:
            state, _ = step(key, state)
    elif how == "scan":
        state, _ = jax.lax.scan(lambda s, key: loop.step(key, s), state, keys)
    else:
        axes = seed_axes(state)
        both = jax.vmap(begin, out_axes=axes)(
            jnp.stack([jax.random.key(0), jax.random.key(7)])
        )
        step = jax.vmap(loop.step, in_axes=(None, axes), out_axes=(axes, 0))
        for key in keys:
            both, _ = step(key, both)
        state = jax.tree.map(
            lambda x, axis: x if axis is None else x[0],
            both,
            axes,
            is_leaf=lambda x: x is None,
        )
    for name in ("times", "last"):
        found, known = getattr(state.refused, name), getattr(plain.refused, name)
        np.testing.assert_array_equal(found, known)
    np.testing.assert_array_equal(state.pool.is_valid, plain.pool.is_valid)
    assert int(plain.refused.times.max()) == 2


def test_a_run_has_a_rule_of_its_own(tmp_path):
    with pytest.raises(ValueError, match="Pass refusals= to run"):
        run(a_loop(Refusals()), make_pool(INPUTS), LABELS, tmp_path / "r", rounds=2)
