"""Greedy selection by kernel columns, computed for several rows together.

Where every pick changes what every row is worth, a pick needs its column of kernel
values with all rows. Where the best rows of now are likely to be picked next, their
columns are computed with one matrix product and kept; only a pick that is not among
them costs a new one. What rows are worth is exact at all times, so the picks are the
sequential ones.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.kernel_sums import kernel_columns
from jaxal.selection.engine.kernels import Kernel
from jaxal.selection.engine.picks import (
    Picks,
    add_picks,
    best_of,
    fill_up,
    highest,
    no_picks,
    num_to_pick,
)
from jaxal.types import Selection


class Pick(NamedTuple):
    """One pick, and what is known about it."""

    row: Array  # of the pool
    slot: Array  # picks before it
    columns: Any  # pytree of [L], as of the pick before `since`
    since: Array


class Rule(NamedTuple):
    """What one greedy algorithm makes of columns; `state` is a pytree of its own.

    `values(state)` is what each row is worth now, `[L]`. `update(shard, state, pick)`
    is the state after a pick. `refine(shard, state, rows, columns)` makes of `[M, L]`
    kernel columns what is kept of them: a pytree of `[M, L]`. Nothing worth `floor` or
    less is picked. `num_kept` columns are computed together; on a CPU, 16 take the
    time of four that are computed one by one.
    """

    values: Callable[[Any], Array]
    update: Callable[[Shard, Any, Pick], Any]
    refine: Callable[[Shard, Any, Array, Array], Any] = lambda s, state, r, c: c
    floor: float = -jnp.inf
    num_kept: int = 1


class _Kept(NamedTuple):
    rows: Array  # [M] of the pool, -1 where none
    columns: Any  # pytree of [M, L]
    since: Array  # picks when they were computed


class _State(NamedTuple):
    rule: Any
    picks: Picks
    kept: _Kept
    is_stuck: Array


def greedy_by_columns(
    key: Array,
    shard: Shard,
    rule: Rule,
    kernel: Kernel,
    rows: Embedding,
    is_available: Array,
    state: Any,
    batch_size: int,
    fill_score: float = 0.0,
) -> Selection:
    """Picks the open row of the largest value, again and again, at most `K` of them."""
    target, lots = num_to_pick(shard, is_available, batch_size), row_lots(key, shard)
    picks = no_picks(is_available, batch_size, rule.values(state).dtype)
    kept = _nothing_kept(shard, rule, rows, state, picks)

    def advance(now: _State) -> _State:
        return _advance(shard, rule, kernel, rows, lots, now)

    last = lax.while_loop(
        lambda now: (now.picks.num < target) & ~now.is_stuck,
        advance,
        _State(state, picks, kept, jnp.bool_(False)),
    )
    return fill_up(key, shard, last.picks, target, fill_score)


def pick_columns(shard: Shard, values: Array, rows: Array) -> Array:
    """Returns columns `[K, M]` of `values` [K, L] at `rows` [M] of the pool."""
    local = rows - shard.first_row
    is_mine = (local >= 0) & (local < shard.num_rows)
    found = values[:, jnp.where(is_mine, local, 0)]
    return shard.sum(jnp.where(is_mine[None], found, 0))


def _nothing_kept(
    shard: Shard, rule: Rule, rows: Embedding, state: Any, picks: Picks
) -> _Kept:
    size = min(rule.num_kept, shard.num_rows * shard.num_devices)
    none = jnp.full(size, -1, jnp.int32)
    shape = jnp.zeros((size, shard.num_rows), picks.scores.dtype)
    columns = jax.eval_shape(lambda: rule.refine(shard, state, none, shape))
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), columns)
    return _Kept(none, empty, picks.num)


def _advance(
    shard: Shard, rule: Rule, kernel: Kernel, rows: Embedding, lots: Array, now: _State
) -> _State:
    values = jnp.where(now.picks.is_open, rule.values(now.rule), -jnp.inf)
    score, row = best_of(shard, values, lots)
    is_worth = score > rule.floor

    kept = lax.cond(
        jnp.any(now.kept.rows == row),
        lambda: now.kept,
        lambda: _compute(shard, rule, kernel, rows, now, values, row),
    )
    place = jnp.argmax(kept.rows == row)
    columns = jax.tree.map(lambda leaf: leaf[place], kept.columns)
    # After a row that is worth nothing the loop ends, and the state is not looked at:
    # a choice between two states would copy a large one.
    state = rule.update(shard, now.rule, Pick(row, now.picks.num, columns, kept.since))
    num = is_worth.astype(jnp.int32)
    picks = add_picks(shard, now.picks, row[None], score[None], num)
    return _State(state, picks, kept, ~is_worth)


def _compute(
    shard: Shard,
    rule: Rule,
    kernel: Kernel,
    rows: Embedding,
    now: _State,
    values: Array,
    row: Array,
) -> _Kept:
    """Returns the columns of a row, and of those likely to be picked after it."""
    here = jnp.arange(shard.num_rows) + shard.first_row == row
    _, chosen = highest(shard, jnp.where(here, jnp.inf, values), now.kept.rows.size)
    columns = kernel_columns(kernel, shard.fetch(rows, chosen), rows)
    kept = rule.refine(shard, now.rule, chosen, columns)
    return _Kept(chosen, kept, now.picks.num)
