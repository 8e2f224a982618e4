"""Strategies that remember are parts like any other, and expressions say the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    Strategy,
    View,
    active_learner,
    array_oracle,
    class_balanced,
    make_pool,
    mixture,
    partition,
    schedule,
    strategy,
    subsample,
    supervised,
    top_k,
    uncertain_then_diverse,
    warm_up,
)
from jaxal.strategies.albl import albl
from jaxal.strategies.select_al import select_al
from tests.toys import blobs, linear

KEY = jax.random.key(0)
NUM_ROWS = 24


def climbing():
    """Proposes the lowest rows it has not proposed before, and counts its rounds.

    Its memory is a number and a mark a row: what a part of a pool must not mix up.
    """

    def init(num_rows):
        return jnp.int32(0), jnp.zeros(num_rows, bool)

    def step(key, view, memory, batch_size):
        rounds, was_proposed = memory
        worth = jnp.where(was_proposed, -100.0, 0.0) - jnp.arange(was_proposed.size)
        picks = top_k(key, worth, view.is_available, batch_size=batch_size)
        rows = jnp.where(picks.is_valid, picks.indices, was_proposed.size)
        return picks, (rounds + 1, was_proposed.at[rows].set(True, mode="drop"))

    return Strategy(frozenset(), step, init=init)


REMEMBERS = climbing()
COMBINED = {
    "mixture": mixture([REMEMBERS, strategy("random")]),
    "schedule": schedule([strategy("random"), REMEMBERS], [0]),
    "warm_up": warm_up(REMEMBERS, labels=0),
    "class_balanced": class_balanced(REMEMBERS, factor=1),
    "subsample": subsample(REMEMBERS, 8, max_labelled=2),
    "partition": partition(REMEMBERS, 2),
    "uncertain_then_diverse": uncertain_then_diverse(
        strategy("random"), REMEMBERS, factor=2, max_labelled=2
    ),
    "shortlist": uncertain_then_diverse(REMEMBERS, strategy("random"), factor=2),
    "select_al": select_al(REMEMBERS, REMEMBERS),
    "nested": mixture([class_balanced(warm_up(REMEMBERS, labels=0), factor=1)]),
}
combined = pytest.mark.parametrize("name", COMBINED)


def first_view():
    rows = jnp.arange(NUM_ROWS)
    logits = jax.random.normal(KEY, (NUM_ROWS, 3))
    free = rows % 6 != 0
    labels = jnp.where(free, -1, rows % 3)
    return View(free, ~free, labels, logits, features=logits)


def marks_of(memory):
    """The marks and counts of every REMEMBERS inside."""
    leaves = jax.tree.leaves(memory)
    marks = [np.asarray(leaf) for leaf in leaves if leaf.dtype == bool]
    return marks, [int(leaf) for leaf in leaves if leaf.dtype == jnp.int32]


def rounds_of(chosen, num_rounds=3, batch_size=4):
    """Picks and memories of rounds in which all that is picked is labelled."""
    view, memory, found = first_view(), chosen.init(NUM_ROWS), []
    for i in range(num_rounds):
        key = jax.random.fold_in(KEY, i)
        picks, memory = chosen.step(key, view, memory, batch_size)
        is_new = jnp.isin(jnp.arange(NUM_ROWS), picks.indices[picks.is_valid])
        view = view._replace(
            is_available=view.is_available & ~is_new,
            is_labelled=view.is_labelled | is_new,
            labels=jnp.where(is_new, jnp.arange(NUM_ROWS) % 3, view.labels),
        )
        found.append((set(picks.indices.tolist()), memory))
    return found


@combined
def test_what_a_part_remembers_is_carried_from_round_to_round(name):
    proposed = set()
    for number, (picks, memory) in enumerate(rounds_of(COMBINED[name]), start=1):
        marks, counts = marks_of(memory)
        asked = 2 * number if name == "partition" else number
        assert max(counts) == asked
        marked = set().union(*(np.flatnonzero(mark).tolist() for mark in marks))
        assert proposed < marked  # it goes on where it was, and marks rows of the pool
        assert marked & picks
        proposed = marked


@pytest.mark.slow  # a law of jaxal.testing, of which the parts are asked
@combined
def test_memories_are_the_same_under_scan_and_vmap(name):
    chosen, view = COMBINED[name], first_view()
    memory = chosen.init(NUM_ROWS)
    keys = jax.random.split(KEY, 2)

    def over(memory, key):
        picks, memory = chosen.step(key, view, memory, 3)
        return memory, picks.indices

    after, picks = jax.lax.scan(over, memory, keys)
    for i, key in enumerate(keys):
        expected, memory = chosen.step(key, view, memory, 3)
        assert picks[i].tolist() == expected.indices.tolist()
    jax.tree.map(np.testing.assert_array_equal, after, memory)
    first = chosen.init(NUM_ROWS)
    many = jax.vmap(lambda key: chosen.step(key, view, first, 3)[0].indices)(keys)
    for key, rows in zip(keys, many, strict=True):
        assert rows.tolist() == chosen.step(key, view, first, 3)[0].indices.tolist()


def test_a_bandit_pays_only_the_part_that_bought():
    chosen = albl([REMEMBERS])
    view, memory = first_view(), chosen.init(NUM_ROWS)
    for i in range(8):
        _, after = chosen.step(jax.random.key(i), view, memory, 3)
        was_drawn = int(after.arm) == 1
        assert int(after.parts[1][0]) == int(memory.parts[1][0]) + was_drawn
        memory = after
    assert 0 < int(memory.parts[1][0]) < 8


@pytest.mark.slow
def test_the_loop_carries_what_parts_remember():
    inputs, labels = blobs(40, 3)
    model = linear(3)
    loop = active_learner(
        model,
        supervised(model, epochs=1),
        class_balanced(partition(albl(), 2)),
        array_oracle(labels),
        batch_size=4,
    )
    state = loop.init(KEY, make_pool(inputs), initial=6)

    def step(state, key):
        state, _ = loop.step(key, state)
        return state, jnp.max(jnp.stack(jax.tree.leaves(state.memory)[3:4]))

    state, rounds = jax.lax.scan(step, state, jax.random.split(KEY, 3))
    assert rounds.tolist() == [2, 4, 6]  # one for each part of the pool
    assert int(state.pool.is_labelled.sum()) == 18


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("class_balanced(margin, factor=3)", class_balanced(strategy("margin"), 3)),
        (
            "mixture(badge(first=drawn), margin, weights=[1, 3])",
            mixture([strategy("badge", first="drawn"), strategy("margin")], [1, 3]),
        ),
        (
            "schedule(coreset, margin, boundaries=[2])",
            schedule([strategy("coreset"), strategy("margin")], [2]),
        ),
        ("tcm(first=coreset)", strategy("tcm", first=strategy("coreset"))),
    ],
)
def test_an_expression_is_the_strategy_it_says(text, made):
    chosen, view = strategy(text), first_view()
    assert chosen.name == text
    assert (chosen.needs, chosen.streams) == (made.needs, made.streams)
    found = chosen.select(KEY, view, 5).indices.tolist()
    assert found == made.select(KEY, view, 5).indices.tolist()


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("class_balanced(bagde)", 15, "Did you mean 'badge'"),
        ("class_balanced(badge", 14, "expected name"),
        ("partition(badge, part=2)", 0, "Did you mean 'parts'"),
        ("mixture(margin, partition(badge))", 16, "needs parts"),
        ("mixture(margin, badge(margin))", 16, "made of no others"),
        ("badge(first=1 + x)", 12, "expected a number or a word"),
        ("1 + 2", 0, "expected the name of a strategy"),
        ("subsample(badge, size=0)", 0, "size is 0"),
        ("class_balanced(badge, margin)", 0, "of which it takes 1; it got 2"),
        ("badge(first=sideways)", 0, "expected one of 'drawn', 'largest_norm'"),
        ("badge(first=3)", 0, "expected one of 'drawn'"),
        ("uherding(bandwidth=wide)", 0, "expected one of 'median'"),
        ("class_balanced(badge, factor=a)", 0, "'a', expected a number"),
        ("mixture(random, subsample(badge, size=2.5))", 16, "expected a whole number"),
        ("mixture(badge, weights=1)", 0, r"expected a list, such as \[1, 2\]"),
        ("schedule(badge, margin)", 0, "needs boundaries"),
        ("badge(first=drawn, first=drawn)", 19, "set twice"),
        ("badge(ä=1, first=drawn, first=drawn)", 24, "set twice"),
    ],
)
def test_a_mistake_is_pointed_at(text, column, message):
    with pytest.raises(ValueError, match=message) as error:
        strategy(text)
    line, pointer = str(error.value).splitlines()[-2:]
    assert line.strip() == text
    assert pointer.index("^") - 2 == column


def test_infinity_has_a_word():
    view = first_view()
    coldest = strategy("stochastic(margin, coldness=inf)").select(KEY, view, 5)
    assert set(coldest.indices.tolist()) == set(
        strategy("margin").select(KEY, view, 5).indices.tolist()
    )


def test_a_combinator_alone_says_what_it_is_made_of():
    with pytest.raises(ValueError, match="made of others"):
        strategy("class_balanced")
