"""Picks: the best rows of a pool wherever they lie, ties by lot, and what is left over.

Values count as equal where they differ by rounding alone, and equal rows are told apart
by lots that belong to the row (`row_lots`), so the order of a pool decides nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxal.pools.mesh import Shard
from jaxal.selection.engine.chance import ROW_BLOCK, perturb
from jaxal.types import Selection

TIE_UNITS = 4
"""Numbers are equal that differ by so many units in the last place, or fewer.

Of float32, or float64 for that: in half precision equal is equal."""


class Picks(NamedTuple):
    """The picks so far, on every device the same but for `is_open`."""

    is_open: Array  # [L] available and not yet picked
    indices: Array  # [K]
    scores: Array  # [K]
    num: Array


class Bound(NamedTuple):
    """What is known of the rows that are no candidates."""

    value: Array  # none is worth more
    lot: Array  # none that may be equal to the best has a higher one
    first: Array  # row of the best lot among all of the largest values, candidates too


def least_equal(best: Array) -> Array:
    """Returns the least values that count as equal to `best`."""
    if not jnp.issubdtype(best.dtype, jnp.floating):
        return best
    units = TIE_UNITS * float(jnp.finfo(jnp.promote_types(best.dtype, jnp.float32)).eps)
    least = jnp.maximum(best - units * jnp.abs(best), jnp.finfo(best.dtype).min)
    return jnp.where(jnp.isfinite(best), least, best)


def group_numbers(values: Array) -> Array:
    """Returns the numbers of groups of equal values, ascending with these, `[N]`."""
    order = jnp.argsort(values)
    ordered = values[order]
    is_next = ordered[:-1] < least_equal(ordered[1:])
    numbers = jnp.cumsum(is_next, dtype=jnp.int32)
    return jnp.zeros(values.size, jnp.int32).at[order[1:]].set(numbers)


def highest(shard: Shard, values: Array, num: int) -> tuple[Array, Array]:
    """Returns the `num` largest values of the pool and their rows, on every device."""
    # Whole behind a barrier: slices of a part of it would make it a sort on a CPU.
    largest = lax.top_k(values, min(num, values.shape[0]))
    found, local = map(lax.optimization_barrier, largest)
    rows = local.astype(jnp.int32) + shard.first_row
    if shard.axis is None:
        return found, rows
    found, rows = (leaf.ravel() for leaf in shard.gather((found, rows)))
    found, order = lax.top_k(found, num)
    return found, rows[order]


def highest_by_lot(
    shard: Shard,
    values: Array,
    lots: Callable[[], Array],
    num: int,
    lots_of: Callable[[Array], Array] | None = None,
) -> tuple[Array, Array]:
    """Returns what `highest` does, equal values in the order of `lots()` [L].

    Lots are drawn only where two of the values found, or the last of them and one that
    was not, are equal; in the former case those of the rows found alone, where
    `lots_of(rows)` has them for less. Values of -inf are rows that cannot be had.
    """
    found, rows = highest(shard, values, num)
    last = found[-1]
    num_reaching = shard.sum(jnp.sum(values >= least_equal(last), dtype=jnp.int32))
    is_cut = (last > -jnp.inf) & (num_reaching > num)
    is_tied = (found[1:] >= least_equal(found[:-1])) & (found[1:] > -jnp.inf)

    def in_order(chosen: Array, worth: Array, drawn: Array) -> tuple[Array, Array]:
        order = jnp.lexsort((-drawn, group_numbers(-worth)))
        return worth[order], chosen[order]

    def draw() -> tuple[Array, Array]:
        own = lots()
        chosen = lax.cond(
            is_cut, lambda: _fill_last(shard, values, own, found, rows), lambda: rows
        )
        return in_order(chosen, *shard.fetch((values, own), chosen))

    if lots_of is None or num * ROW_BLOCK > values.shape[0]:
        return lax.cond(is_cut | jnp.any(is_tied), draw, lambda: (found, rows))
    case = jnp.where(is_cut, 2, jnp.any(is_tied).astype(jnp.int32))
    few = [lambda: (found, rows), lambda: in_order(rows, found, lots_of(rows)), draw]
    return lax.switch(case, few)


def _fill_last(
    shard: Shard, values: Array, lots: Array, found: Array, rows: Array
) -> Array:
    """Returns rows of which those equal to the last are drawn among all such rows."""
    last = found[-1]
    is_equal = (values >= least_equal(last)) & (least_equal(values) <= last)
    is_equal &= values > -jnp.inf
    # As floats, of which a CPU finds the largest a hundred times sooner.
    _, drawn = highest(
        shard, jnp.where(is_equal, lots.astype(jnp.float32), -1), found.size
    )
    is_above = least_equal(found) > last
    place = jnp.maximum(jnp.arange(found.size) - jnp.sum(is_above), 0)
    return jnp.where(is_above, rows, drawn[place])


def best_of(shard: Shard, values: Array, lots: Array) -> tuple[Array, Array]:
    """Returns one of the largest values of the pool, that of the best lot; its row."""
    least = least_equal(shard.max(jnp.max(values)))
    local = jnp.argmax(jnp.where(values >= least, lots, -2)).astype(jnp.int32)
    lot = jnp.where(values[local] >= least, lots[local], -2)
    drawn, found, rows = shard.gather((lot, values[local], local + shard.first_row))
    device = jnp.argmax(drawn)
    return found[device], rows[device]


def bound_of(shard: Shard, values: Array, lots: Array, first: Array) -> Bound:
    """Returns the bound that `values` [L] set, -inf for what is a candidate."""
    most = shard.max(jnp.max(values))
    least = least_equal(least_equal(least_equal(most)))
    return Bound(most, shard.max(jnp.max(jnp.where(values >= least, lots, -1))), first)


def pick_among(values: Array, lots: Array, bound: Bound) -> tuple[Array, Array]:
    """Returns the position of the best of `M` candidates, and whether it is certain.

    Certain is that no row elsewhere is better: all are worth less, or the candidate is
    equal to the best whatever they are worth, and its lot is the better one.
    """
    best = jnp.max(values)
    place = jnp.argmax(jnp.where(values >= least_equal(best), lots, -1))
    is_best = values[place] >= least_equal(jnp.maximum(best, bound.value))
    is_alone = bound.value < least_equal(best)
    return place, is_alone | (is_best & (lots[place] > bound.lot))


def with_first(rows: Array, first: Array) -> Array:
    """Returns candidates, `first` in place of the last where it is not there."""
    return jnp.where(jnp.any(rows == first), rows, rows.at[-1].set(first))


def rankable(scores: Array, is_available: Array) -> Array:
    """Returns scores in which -inf stands only for rows that cannot be had."""
    lowest = jnp.finfo(scores.dtype).min
    finite = jnp.maximum(jnp.where(jnp.isnan(scores), lowest, scores), lowest)
    return jnp.where(is_available, finite, -jnp.inf)


def no_picks(is_available: Array, batch_size: int, dtype: jnp.dtype) -> Picks:
    """Returns picks before the first."""
    zeros = jnp.zeros(batch_size, dtype)
    return Picks(is_available, zeros.astype(jnp.int32), zeros, jnp.int32(0))


def num_to_pick(shard: Shard, is_available: Array, batch_size: int) -> Array:
    """Returns how many picks there can be."""
    total = shard.sum(jnp.sum(is_available, dtype=jnp.int32))
    return jnp.minimum(total, batch_size)


def add_picks(
    shard: Shard, picks: Picks, rows: Array, scores: Array, num: Array
) -> Picks:
    """Returns picks with the first `num` of more rows of the pool."""
    slots = jnp.arange(rows.size)
    is_pick = slots < num
    slots = jnp.where(is_pick, picks.num + slots, picks.indices.size)
    scores = scores.astype(picks.scores.dtype)
    return Picks(
        is_open=shard.clear(picks.is_open, jnp.where(is_pick, rows, -1)),
        indices=picks.indices.at[slots].set(rows, mode="drop"),
        scores=picks.scores.at[slots].set(scores, mode="drop"),
        num=picks.num + num,
    )


def random_rows(key: Array, shard: Shard, is_open: Array, num: int) -> Array:
    """Returns `num` rows of the pool at random, those of `is_open` [L] first."""
    noise = perturb(key, shard, jnp.zeros(shard.num_rows, jnp.float32))
    return highest(shard, jnp.where(is_open, noise, -jnp.inf), num)[1]


def fill_up(
    key: Array, shard: Shard, picks: Picks, target: Array, score: float = 0.0
) -> Selection:
    """Returns the selection, filled up with rows at random, all of one score."""
    size = picks.indices.size

    def fill(picks: Picks) -> Picks:
        rows = random_rows(key, shard, picks.is_open, size)
        missing = target - picks.num
        return add_picks(shard, picks, rows, jnp.full(size, score), missing)

    picks = lax.cond(picks.num < target, fill, lambda picks: picks, picks)
    return first_valid(picks.indices, picks.scores, target)


def first_valid(rows: Array, scores: Array, num: Array) -> Selection:
    """Returns the selection of the first `num` of `K` rows."""
    return Selection(rows, scores, jnp.arange(rows.size) < num)
