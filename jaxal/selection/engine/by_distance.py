"""Greedy selection by distance, in blocks: few passes over the pool, exact picks.

One pass refreshes the distance of every row to its nearest centre with one matrix
product; a rule then proposes a block of candidates from these distances, and decides
among them alone, with the distances between them, which picks the sequential
algorithm would have made.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard, over_rows
from jaxal.selection.engine.block_rules import Rule, compare
from jaxal.selection.engine.chance import draw_rows, row_lots
from jaxal.selection.engine.distances import (
    Centres,
    Space,
    make_space,
    map_chunks,
    refresh,
    stored,
)
from jaxal.selection.engine.door import Rows, pool_rows, selector
from jaxal.selection.engine.picks import (
    Picks,
    add_picks,
    best_of,
    fill_up,
    no_picks,
    num_to_pick,
)
from jaxal.types import Selection

First = Literal["drawn", "largest_norm"]
_FIRSTS = ("drawn", "largest_norm")
_LABELLED_BLOCK = 1024
BLOCKED_CALL = "jaxal_blocked_selection"
"""Name in traced programs of the call that runs a rule: `planning` looks for it."""


class _State(NamedTuple):
    nearest: Array  # [L] squared distance to the nearest centre before `pending`
    picks: Picks
    pending: Centres  # picked since the last refresh
    passes: Array
    is_stuck: Array  # nothing but zero distances is left


class _Known(NamedTuple):
    """What does not change between passes."""

    shard: Shard
    space: Space
    rows: Rows
    weights: Array | None  # [L]
    lots: Array  # [L]
    target: Array


@selector
def blocked_selection(
    rule: Rule,
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    weights: Array | None = None,
    first: First = "drawn",
    num_candidates: int | None = None,
    mesh: Mesh | None = None,
) -> tuple[Selection, Array]:
    """Runs a rule; see `k_center` and `k_means_plus_plus` for the arguments.

    Returns:
      The selection, and the number of passes over the pool that it took, not counting
      those for rows that were centres already.
    """
    check_first(first)
    rows = pool_rows(embedding, is_available, is_labelled)
    if num_candidates is None:
        num_candidates = default_candidates(batch_size)
    num_candidates = rule.candidates_of(num_candidates, rows.embedding.num_rows)
    local = rows, weights
    return _select(rule, key, local, batch_size, first, num_candidates, mesh)


def check_first(first: str) -> None:
    """Raises ValueError unless there is such a way to the first centre."""
    if first not in _FIRSTS:
        raise ValueError(f"first is {first!r}, expected one of {_FIRSTS}.")


def default_candidates(batch_size: int) -> int:
    """Returns how many candidates a block has: half the picks, 64 to 1024.

    Candidates cost little next to a pass, and only picks enter the next refresh; what
    bounds their number is the square of distances between them.
    """
    return min(max(64, -(-batch_size // 2)), 1024)


def _run(
    rule: Rule,
    key: Array,
    local: tuple[Rows, Array | None],
    batch_size: int,
    first: First,
    num_candidates: int,
    mesh: Mesh | None,
) -> tuple[Selection, Array]:
    def select(shard: Shard, key: Array, local: tuple) -> tuple[Selection, Array]:
        rows, weights = local
        key_first, key_loop, key_fill = jax.random.split(key, 3)
        space = make_space(shard, rows.embedding, rows.is_used)
        target = num_to_pick(shard, rows.is_available, batch_size)
        known = _Known(shard, space, rows, weights, row_lots(key, shard), target)
        state = _start(known, batch_size, num_candidates)
        state = _add_first(key_first, known, state, first)

        def is_open(carry: tuple[Embedding, _State]) -> Array:
            return (carry[1].picks.num < target) & ~carry[1].is_stuck

        def advance(carry: tuple[Embedding, _State]) -> tuple[Embedding, _State]:
            now = space._replace(embedding=stored(carry[0]))
            state = _advance(rule, key_loop, known._replace(space=now), carry[1])
            return now.embedding, state

        _, state = lax.while_loop(is_open, advance, (space.embedding, state))
        return fill_up(key_fill, shard, state.picks, target), state.passes

    return over_rows(select, key, local, mesh=mesh)


_run.__name__ = BLOCKED_CALL
_select = partial(jax.jit, static_argnums=(0, 3, 4, 5, 6))(_run)


def _start(known: _Known, batch_size: int, num_candidates: int) -> _State:
    shard, space, rows = known.shard, known.space, known.rows
    block = jax.eval_shape(
        lambda rows: rows.take(jnp.zeros(num_candidates, int)).relative_to(
            space.origin
        ),
        rows.embedding,
    )
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), block)
    nearest = jnp.full(shard.num_rows, jnp.inf, space.norms.dtype)
    return _State(
        nearest=_add_labelled(shard, space, rows.is_labelled, nearest),
        picks=no_picks(rows.is_available, batch_size, space.norms.dtype),
        pending=Centres(empty, jnp.int32(0)),
        passes=jnp.int32(0),
        is_stuck=jnp.bool_(False),
    )


def _add_labelled(
    shard: Shard, space: Space, is_labelled: Array | None, nearest: Array
) -> Array:
    """Makes labelled rows centres, a block at a time: there is no N x L array."""
    if is_labelled is None:
        return nearest
    total = shard.sum(jnp.sum(is_labelled, dtype=jnp.int32))
    size = min(_LABELLED_BLOCK, shard.num_rows * shard.num_devices)

    def step(index: Array, carry: tuple[Embedding, Array]) -> tuple[Embedding, Array]:
        now = space._replace(embedding=stored(carry[0]))
        ranks = index * size + jnp.arange(size)
        block = shard.fetch(now.embedding, shard.ranked_rows(is_labelled, ranks))
        count = jnp.minimum(total - index * size, size)
        centres = Centres(block.relative_to(space.origin), count)
        return now.embedding, refresh(now, carry[1], centres)

    return lax.fori_loop(0, -(-total // size), step, (space.embedding, nearest))[1]


def _add_first(key: Array, known: _Known, state: _State, first: First) -> _State:
    """Picks the first centre where there is none."""
    shard, space = known.shard, known.space

    def pick(state: _State) -> _State:
        chosen = _first_row(key, known, first)
        block = shard.fetch(space.embedding, chosen)
        pending = jax.tree.map(
            lambda all_rows, row: lax.dynamic_update_slice_in_dim(all_rows, row, 0, 0),
            state.pending.rows,
            block.relative_to(space.origin),
        )
        one = jnp.int32(1)
        picks = add_picks(shard, state.picks, chosen, block.sqnorm(), one)
        return state._replace(picks=picks, pending=Centres(pending, one))

    has_centre = shard.sum(jnp.sum(known.rows.is_centre, dtype=jnp.int32)) > 0
    has_centre |= known.target == 0
    return lax.cond(has_centre, lambda state: state, pick, state)


def _first_row(key: Array, known: _Known, first: First) -> Array:
    """Returns the row of the pool, `[1]`, to begin with."""
    norms = None
    if first == "largest_norm":
        norms = map_chunks(known.space.embedding, lambda rows: rows.sqnorm())
    free, dtype = known.rows.is_available, known.space.norms.dtype
    return first_row(key, known.shard, free, known.weights, norms, known.lots, dtype)


def first_row(
    key: Array,
    shard: Shard,
    is_available: Array,
    weights: Array | None,
    norms: Array | None,
    lots: Array,
    dtype: Any,
) -> Array:
    """Returns the first centre, `[1]`: drawn, or of the largest of `norms` [L]."""
    chances = is_available.astype(dtype)
    if weights is not None:
        weighted = chances * weights
        chances = jnp.where(shard.sum(jnp.sum(weighted)) > 0, weighted, chances)
    if norms is None:
        return draw_rows(jax.random.uniform(key, (3, 1), chances.dtype), shard, chances)
    return best_of(shard, jnp.where(is_available, norms * chances, -1), lots)[1][None]


def _advance(rule: Rule, key: Array, known: _Known, state: _State) -> _State:
    """One pass: refresh, propose, decide, record."""
    shard, space, weights = known.shard, known.space, known.weights
    nearest = refresh(space, state.nearest, state.pending)
    values = jnp.where(state.picks.is_open, nearest, 0)
    values = values if weights is None else values * weights
    num_candidates = state.pending.rows.num_rows
    key = jax.random.fold_in(key, state.passes)
    uniform = jax.random.uniform(key, (4, num_candidates), values.dtype)
    rows, bound = rule.propose(uniform[:3], known.lots, shard, values)
    fetched = (space.embedding, values, weights, known.lots)
    block, *facts = shard.fetch(fetched, rows)
    block = block.relative_to(space.origin)
    candidates = compare(rows, block, facts, bound)
    decision = rule.decide(uniform[3], candidates, known.target - state.picks.num)
    picked = rows[decision.order]
    return _State(
        nearest=nearest,
        picks=add_picks(shard, state.picks, picked, decision.scores, decision.num),
        pending=Centres(block.take(decision.order), decision.num),
        passes=state.passes + 1,
        is_stuck=decision.num == 0,
    )
