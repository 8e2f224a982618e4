"""Greedy selection by kernel columns, computed for several rows together.

Where every pick changes what every row is worth, a pick needs its column of kernel
values with all rows. Columns of the rows most likely to be picked next are computed
with one matrix product and kept; only a pick that was not foreseen costs a new one.
What rows are worth is exact at all times, so the picks are the sequential ones.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.embeddings import Embedding
from jaxal.selection.filling import Picks, add_pick, best_row, fill_up, no_picks
from jaxal.selection.kernels import Kernel, kernel_columns
from jaxal.selection.ranked import highest
from jaxal.selection.sharding import Shard
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
    is the state after a pick. `foresee(shard, state, values)` ranks rows by how soon
    they may be picked, `[L]`. `refine(shard, state, rows, columns)` makes of `[M, L]`
    kernel columns what is kept of them: a pytree of `[M, L]`. Nothing worth `floor` or
    less is picked.
    """

    values: Callable[[Any], Array]
    update: Callable[[Shard, Any, Pick], Any]
    foresee: Callable[[Shard, Any, Array], Array] = lambda shard, state, values: values
    refine: Callable[[Shard, Any, Array, Array], Any] = lambda s, state, r, c: c
    floor: float = -jnp.inf


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
    target = shard.sum(jnp.sum(is_available, dtype=jnp.int32))
    target = jnp.minimum(target, batch_size)
    picks = no_picks(is_available, batch_size, rule.values(state).dtype)
    kept = _nothing_kept(shard, rule, rows, state, picks)

    def advance(now: _State) -> _State:
        return _advance(shard, rule, kernel, rows, now)

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
    size = min(_num_kept(), shard.num_rows * shard.num_devices)
    none = jnp.full(size, -1, jnp.int32)
    shape = jnp.zeros((size, shard.num_rows), picks.scores.dtype)
    columns = jax.eval_shape(lambda: rule.refine(shard, state, none, shape))
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), columns)
    return _Kept(none, empty, picks.num)


def _advance(
    shard: Shard, rule: Rule, kernel: Kernel, rows: Embedding, now: _State
) -> _State:
    values = jnp.where(now.picks.is_open, rule.values(now.rule), -jnp.inf)
    score, row = best_row(shard, values)
    is_worth = score > rule.floor

    def pick() -> _State:
        kept = lax.cond(
            jnp.any(now.kept.rows == row),
            lambda: now.kept,
            lambda: _compute(shard, rule, kernel, rows, now, values, row),
        )
        place = jnp.argmax(kept.rows == row)
        columns = jax.tree.map(lambda leaf: leaf[place], kept.columns)
        found = Pick(row, now.picks.num, columns, kept.since)
        state = rule.update(shard, now.rule, found)
        picks = add_pick(shard, now.picks, row, score)
        return _State(state, picks, kept, now.is_stuck)

    return lax.cond(is_worth, pick, lambda: now._replace(is_stuck=~is_worth))


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
    soon = jnp.where(values > -jnp.inf, rule.foresee(shard, now.rule, values), -jnp.inf)
    here = jnp.arange(shard.num_rows) + shard.first_row == row
    soon = jnp.where(here, jnp.inf, soon)
    _, chosen = highest(shard, soon, now.kept.rows.size)
    columns = kernel_columns(kernel, shard.fetch(rows, chosen), rows)
    kept = rule.refine(shard, now.rule, chosen, columns)
    return _Kept(chosen, kept, now.picks.num)


def _num_kept() -> int:
    """Returns how many columns one product is asked for: cheap ones, on a CPU."""
    return 16 if jax.default_backend() == "cpu" else 64
