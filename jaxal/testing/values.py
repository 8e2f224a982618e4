"""Laws of values: what rows out of play hold, and what cannot be chosen from."""

import numpy as np

from jaxal.testing import ways
from jaxal.testing.hostile import padded, withdrawn
from jaxal.testing.judging import check_same
from jaxal.testing.laws import BrokenLawError, counted_as, no_error
from jaxal.testing.pools import (
    BATCH_SIZE,
    NUM_ROWS,
    HostilePool,
    filled,
    ordinary,
    refilled,
    with_nan,
)
from jaxal.testing.subject import NUM_EAGER, Subject, play, play_at_once, taken

POISONS = (np.nan, np.inf, 1e30)


def check_padding(one: Subject) -> None:
    """Other numbers in padding rows, the same picks."""
    pool = padded(one.seed)
    other = refilled(pool)
    expected, found = (play(one, p, one.keys[0], 1)[0].picks for p in (pool, other))
    check_same("padding", one.where(other), expected, found)


def check_masked(one: Subject) -> None:
    """What is no number in rows out of play, the same picks, eager and compiled."""
    pool = withdrawn(one.seed)
    eager = play(one, pool, one.keys[0], 1)[0].picks
    compiled, _ = play_at_once(one, pool)
    for value in POISONS:
        other = filled(pool, value)
        with counted_as("masked"):
            found = play(one, other, one.keys[0], 1)[0].picks
            many, _ = play_at_once(one, other)
        check_same("masked", one.where(other), eager, found)
        for place in np.ndindex(NUM_EAGER, ways.NUM_ROUNDS):
            where = one.where(other, place[1])
            check_same("masked", where, taken(compiled, *place), taken(many, *place))


def check_bad_row(one: Subject) -> None:
    """A NaN in an available row is never worth a valid pick."""
    for field in one.fields:
        pool = with_nan(ordinary(one.seed), field)
        _check_eager(one, pool)
        with counted_as("bad row"):
            picks, _ = play_at_once(one, pool)
        _require_invalid(one, pool, np.asarray(picks.is_valid), "under jit")


def _check_eager(one: Subject, pool: HostilePool) -> None:
    with no_error(one.where(pool), "bad row"):
        view, memory = one.view(pool), one.strategy.init(NUM_ROWS)
        try:
            picks, _ = one.strategy.step(one.keys[0], view, memory, BATCH_SIZE)
        except (ValueError, FloatingPointError) as error:
            if "nan" not in str(error).lower():
                raise
            return
    _require_invalid(one, pool, np.asarray(picks.is_valid), "eagerly, nothing raised")


def _require_invalid(
    one: Subject, pool: HostilePool, is_valid: np.ndarray, how: str
) -> None:
    if is_valid.any():
        seen = f"{is_valid.sum()} of {is_valid.size} picks are valid, {how}"
        raise BrokenLawError("bad row", one.where(pool), seen)
