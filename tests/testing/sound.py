"""A strategy that keeps every law, and what is done to strategies that break one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from jaxal import Selection, Strategy, margin, stateless
from jaxal.testing import LAWS, BrokenLawError, check_strategy

LOGITS = frozenset({"logits"})


def buy(key, worth, is_available, batch_size):
    """Buys the highest, ties drawn; nothing where an available row is worth NaN."""
    is_sound = ~jnp.any(jnp.isnan(worth) & is_available)
    noise = jax.random.uniform(key, worth.shape)
    rows = jnp.lexsort((noise, -worth, ~is_available))[:batch_size]
    is_valid = (jnp.arange(batch_size) < jnp.sum(is_available)) & is_sound
    return blanked(Selection(rows, worth[rows], is_valid), worth.size)


def blanked(selection, num_rows):
    """The selection, in int32 and blank where it is not valid."""
    rows, scores, is_valid = selection
    rows = jnp.where(is_valid, rows, num_rows).astype(jnp.int32)
    return Selection(rows, jnp.where(is_valid, scores, -jnp.inf), is_valid)


def by_margin(key, view, batch_size):
    return buy(key, margin(view.logits), view.is_available, batch_size)


def selecting(choose, needs=LOGITS):
    return stateless(needs, choose)


def ranked(score, needs=LOGITS):
    """Ranks rows by a score that may look at the key and at the whole view."""

    def choose(key, view, batch_size):
        return buy(key, score(key, view), view.is_available, batch_size)

    return selecting(choose, needs)


def changed(change):
    """What `by_margin` chooses, and then something is done to it."""

    def choose(key, view, batch_size):
        return change(by_margin(key, view, batch_size), view)

    return selecting(choose)


def remembering(init, learn):
    """`by_margin`, with a memory: `learn(memory, picks)` is the next one."""

    def step(key, view, memory, batch_size):
        picks = by_margin(key, view, batch_size)
        return picks, learn(memory, picks)

    return Strategy(LOGITS, step, init=init)


class Broken(NamedTuple):
    """A strategy that breaks a law, and the pool it shows on."""

    name: str
    strategy: Strategy
    law: str
    pool: str | None = "ordinary"  # None: any
    is_deterministic: bool = False
    round: int = 0


def check_named(broken: Broken):
    """Requires that the law is named, with where it broke, and returns the error."""
    named = broken.strategy._replace(name=broken.name)
    with pytest.raises(BrokenLawError) as caught:
        check_strategy(named, is_deterministic=broken.is_deterministic, seeds=(3,))
    error = caught.value
    assert (error.law, error.seed) == (broken.law, 3), str(error)
    assert broken.pool in (error.pool, None)
    assert (error.strategy, error.round) == (broken.name, broken.round)
    said = (repr(broken.name), LAWS[broken.law], "seed 3", f"round {broken.round}")
    for part in (*said, error.seen):
        assert part in str(error)
    assert isinstance(error, AssertionError)
    return error
