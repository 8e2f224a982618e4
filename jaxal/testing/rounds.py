"""Laws of a choice: what is picked, again and again, and what is remembered of it."""

import jax
import numpy as np

from jaxal.testing import ways
from jaxal.testing.hostile import CASES
from jaxal.testing.judging import check_picks, check_same, check_same_memory
from jaxal.testing.laws import BrokenLawError, counted_as, no_error
from jaxal.testing.pools import BATCH_SIZE, NUM_ROWS, ordinary
from jaxal.testing.subject import NUM_EAGER, Subject, play, play_at_once, taken
from jaxal.testing.ways import NUM_ROUNDS


def check_chunks(one: Subject) -> None:
    """What rowwise finds in chunks is what it finds at once."""
    pool = ordinary(one.seed)
    where = one.where(pool)
    with no_error(where):
        at_once = one.find_rows(pool)
    with no_error(where, "chunks"):
        in_chunks = ways.rows_in_chunks(one.strategy, pool)
    pairs = zip(*map(jax.tree.leaves, (at_once, in_chunks)), strict=True)
    for whole, pieces in pairs:
        whole, pieces = (np.asarray(leaf, np.float64) for leaf in (whole, pieces))
        if whole.shape[:1] != (NUM_ROWS,):
            seen = f"rowwise of {NUM_ROWS} rows returns an array {list(whole.shape)}"
            raise BrokenLawError("chunks", where, seen)
        if not np.allclose(whole, pieces, rtol=1e-3, atol=1e-4, equal_nan=True):
            error = np.abs(whole - pieces).reshape(NUM_ROWS, -1).max(-1)
            seen = f"row {np.nanargmax(error)} differs by {np.nanmax(error):.3g}"
            raise BrokenLawError("chunks", where, seen)


def check_first_rounds(one: Subject) -> None:
    """Eager calls on every pool: one shape, so compiled once."""
    for case in CASES:
        with counted_as(case.law):
            play(one, case.make(one.seed), one.keys[0], 1)


def check_repeats(one: Subject) -> None:
    """The same rounds again, and what `select` says of the first."""
    pool = ordinary(one.seed)
    rounds = play(one, pool, one.keys[0])
    for index, (first, again) in enumerate(
        zip(rounds, play(one, pool, one.keys[0]), strict=True)
    ):
        check_same("repeats", one.where(pool, index), first.picks, again.picks)
        check_same_memory(one.where(pool, index), first.after, again.after)
    with no_error(one.where(pool), "select"):
        key = ways.round_key(one.keys[0], 0)
        picks = one.strategy.select(key, one.view(pool), BATCH_SIZE)
    check_same("select", one.where(pool), rounds[0].picks, picks)


def check_key(one: Subject) -> None:
    """Other keys, the same picks."""
    pool = ordinary(one.seed)
    expected, *others = (play(one, pool, key, 1)[0] for key in one.keys[:3])
    for found in others:
        check_same("key", one.where(pool), expected.picks, found.picks)


def check_permutation(one: Subject) -> None:
    """Rows in another order, the same rows."""
    pool = ordinary(one.seed)
    order = np.random.default_rng(one.seed).permutation(NUM_ROWS)
    expected = play(one, pool, one.keys[0], 1)[0].picks
    moved = play(one, pool.take(order), one.keys[0], 1)[0].picks
    found = moved._replace(indices=order[np.asarray(moved.indices)])
    check_same("permutation", one.where(pool), expected, found)


def check_rounds(one: Subject) -> None:
    """Every pool for some rounds, compiled: the last may be short."""
    for case in CASES:
        pool = case.make(one.seed)
        picks, _ = play_at_once(one, pool)
        for number in range(NUM_EAGER):
            left = pool
            for index in range(NUM_ROUNDS):
                chosen = taken(picks, number, index)
                with counted_as(case.law):
                    check_picks(one.where(pool, index), chosen, left, BATCH_SIZE)
                left = left.bought(chosen)
