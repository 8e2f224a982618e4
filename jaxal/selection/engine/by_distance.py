"""Greedy selection by distance, in blocks: few passes over the pool, exact picks.

One pass refreshes the distance of every row to its nearest centre with one matrix
product; a rule then proposes a block of candidates from these distances, and decides
among them alone, with the distances between them, which picks the sequential
algorithm would have made.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal import checks
from jaxal.embeddings import Embedding, as_embedding
from jaxal.pools.mesh import Shard, find_mesh, over_rows
from jaxal.selection.engine.chance import draw_rows, perturb
from jaxal.selection.engine.distances import (
    Centres,
    Space,
    make_space,
    map_chunks,
    refresh,
    squared_distances,
    stored,
)
from jaxal.selection.engine.ranks import highest
from jaxal.types import Selection

First = Literal["drawn", "largest_norm"]
_FIRSTS = ("drawn", "largest_norm")
_LABELLED_BLOCK = 1024


class Candidates(NamedTuple):
    """Rows among which the next picks are decided."""

    rows: Array  # [M] rows of the pool
    values: Array  # [M] weighted squared distances as of the last refresh
    weights: Array  # [M]
    distances: Array  # [M, M] squared, between candidates
    bound: tuple[Array, Array]  # value and row of the best row that is no candidate


class Decision(NamedTuple):
    """Which candidates are picked, in the order of picking."""

    order: Array  # [M] positions, the picked ones first
    scores: Array  # [M] value at the time of picking, in the same order
    num: Array


class Rule(NamedTuple):
    """What one greedy algorithm does with a block, given numbers uniform in [0, 1).

    `propose(uniform [3, M], shard, values [L])` returns `M` rows of the pool and the
    value and row of the best row left out. `decide(uniform [M], candidates, budget)`
    picks at most `budget` of them; picking none says that nothing is left to pick.
    """

    propose: Callable[[Array, Shard, Array], tuple[Array, tuple[Array, Array]]]
    decide: Callable[[Array, Candidates, Array], Decision]
    is_drawn: bool = False  # candidates are draws, so there may be more than rows

    def candidates_of(self, num_candidates: int, num_rows: int) -> int:
        """Returns how many candidates a block of a pool has.

        Draws stay as many where the pool is small, for padding changes its size, and
        how many numbers are drawn is what a key stands for.
        """
        return num_candidates if self.is_drawn else min(num_candidates, num_rows)


class _Rows(NamedTuple):
    embedding: Embedding  # [N]
    is_available: Array  # [N]
    is_labelled: Array | None  # [N]
    weights: Array | None  # [N]


class _State(NamedTuple):
    nearest: Array  # [L] squared distance to the nearest centre before `pending`
    is_open: Array  # [L] available and not yet picked
    indices: Array  # [K]
    scores: Array  # [K]
    num: Array
    pending: Centres  # picked since the last refresh
    passes: Array
    is_stuck: Array  # nothing but zero distances is left


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
    rows = _checked(key, embedding, is_available, is_labelled, weights, batch_size)
    if first not in _FIRSTS:
        raise ValueError(f"first is {first!r}, expected one of {_FIRSTS}.")
    if num_candidates is None:
        num_candidates = default_candidates(batch_size)
    num_candidates = rule.candidates_of(num_candidates, rows.embedding.num_rows)
    mesh = find_mesh(mesh, rows)
    return _select(rule, key, rows, batch_size, first, num_candidates, mesh)


def default_candidates(batch_size: int) -> int:
    """Returns how many candidates a block has: half the picks, 64 to 1024.

    Candidates cost little next to a pass, and only picks enter the next refresh; what
    bounds their number is the square of distances between them.
    """
    return min(max(64, -(-batch_size // 2)), 1024)


@partial(jax.jit, static_argnums=(0, 3, 4, 5, 6))
def _select(
    rule: Rule,
    key: Array,
    rows: _Rows,
    batch_size: int,
    first: First,
    num_candidates: int,
    mesh: Mesh | None,
) -> tuple[Selection, Array]:
    num_rows = rows.embedding.num_rows

    def select(shard: Shard, key: Array, rows: _Rows) -> tuple[Selection, Array]:
        key_first, key_loop, key_fill = jax.random.split(key, 3)
        target = shard.sum(jnp.sum(rows.is_available, dtype=jnp.int32))
        target = jnp.minimum(target, batch_size)
        space = make_space(shard, rows.embedding, _is_used(rows))
        state = _start(shard, space, rows, batch_size, num_candidates)
        state = _add_first(key_first, shard, space, rows, state, target, first)

        def is_open(carry: tuple[Embedding, _State]) -> Array:
            return (carry[1].num < target) & ~carry[1].is_stuck

        def advance(carry: tuple[Embedding, _State]) -> tuple[Embedding, _State]:
            now = space._replace(embedding=stored(carry[0]))
            known = rule, key_loop, shard, now, rows.weights, target
            return now.embedding, _advance(*known, carry[1])

        _, state = lax.while_loop(is_open, advance, (space.embedding, state))
        state = _fill(key_fill, shard, state, target)
        is_valid = jnp.arange(batch_size) < target
        indices = jnp.where(is_valid, state.indices, num_rows)
        scores = jnp.where(is_valid, state.scores, -jnp.inf)
        return Selection(indices, scores, is_valid), state.passes

    return over_rows(select, key, rows, mesh=mesh)


def _start(
    shard: Shard, space: Space, rows: _Rows, batch_size: int, num_candidates: int
) -> _State:
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
        is_open=rows.is_available,
        indices=jnp.zeros(batch_size, jnp.int32),
        scores=jnp.zeros(batch_size, space.norms.dtype),
        num=jnp.int32(0),
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


def _add_first(
    key: Array,
    shard: Shard,
    space: Space,
    rows: _Rows,
    state: _State,
    target: Array,
    first: First,
) -> _State:
    """Picks the first centre where there is none."""

    def pick(state: _State) -> _State:
        chosen = _first_row(key, shard, space, rows, first)
        block = shard.fetch(space.embedding, chosen)
        decision = Decision(jnp.zeros(1, int), block.sqnorm(), jnp.int32(1))
        pending = jax.tree.map(
            lambda all_rows, row: lax.dynamic_update_slice_in_dim(all_rows, row, 0, 0),
            state.pending.rows,
            block.relative_to(space.origin),
        )
        return _record(shard, state, chosen, decision, pending)

    has_centre = jnp.bool_(False)
    if rows.is_labelled is not None:
        has_centre = shard.sum(jnp.sum(rows.is_labelled, dtype=jnp.int32)) > 0
    return lax.cond(has_centre | (target == 0), lambda state: state, pick, state)


def _first_row(
    key: Array, shard: Shard, space: Space, rows: _Rows, first: First
) -> Array:
    """Returns the row of the pool, `[1]`, to begin with."""
    weights = rows.is_available.astype(space.norms.dtype)
    if rows.weights is not None:
        weighted = weights * rows.weights
        weights = jnp.where(shard.sum(jnp.sum(weighted)) > 0, weighted, weights)
    if first == "drawn":
        return draw_rows(jax.random.uniform(key, (3, 1), weights.dtype), shard, weights)
    norms = map_chunks(space.embedding, lambda rows: rows.sqnorm())
    return highest(shard, jnp.where(rows.is_available, norms * weights, -1), 1)[1]


def _advance(
    rule: Rule,
    key: Array,
    shard: Shard,
    space: Space,
    weights: Array | None,
    target: Array,
    state: _State,
) -> _State:
    """One pass: refresh, propose, decide, record."""
    nearest = refresh(space, state.nearest, state.pending)
    values = jnp.where(state.is_open, nearest, 0)
    values = values if weights is None else values * weights
    num_candidates = state.pending.rows.num_rows
    key = jax.random.fold_in(key, state.passes)
    uniform = jax.random.uniform(key, (4, num_candidates), values.dtype)
    rows, bound = rule.propose(uniform[:3], shard, values)
    block, found, found_weights = shard.fetch((space.embedding, values, weights), rows)
    block = block.relative_to(space.origin)
    between = squared_distances(block, block.sqnorm(), block)
    candidates = Candidates(
        rows=rows,
        values=found,
        weights=jnp.ones_like(found) if weights is None else found_weights,
        # The same row twice is the same place, whatever rounding says.
        distances=jnp.where(rows[:, None] == rows[None], 0, between),
        bound=bound,
    )
    decision = rule.decide(uniform[3], candidates, target - state.num)
    state = state._replace(
        nearest=nearest, passes=state.passes + 1, is_stuck=decision.num == 0
    )
    return _record(shard, state, rows, decision, block.take(decision.order))


def _record(
    shard: Shard, state: _State, rows: Array, decision: Decision, pending: Any
) -> _State:
    """Writes the picks down and makes them the centres of the next refresh."""
    slots = jnp.arange(decision.order.size)
    is_pick = slots < decision.num
    rows = jnp.where(is_pick, rows[decision.order], -1)
    slots = jnp.where(is_pick, state.num + slots, state.indices.size)
    return state._replace(
        is_open=shard.clear(state.is_open, rows),
        indices=state.indices.at[slots].set(rows, mode="drop"),
        scores=state.scores.at[slots].set(decision.scores, mode="drop"),
        num=state.num + decision.num,
        pending=Centres(pending, decision.num),
    )


def _fill(key: Array, shard: Shard, state: _State, target: Array) -> _State:
    """Takes rows at random when all that is left coincides with centres."""
    batch_size = state.indices.size

    def fill(state: _State) -> _State:
        noise = perturb(key, shard, jnp.zeros(shard.num_rows, state.nearest.dtype))
        noise = jnp.where(state.is_open, noise, -jnp.inf)
        _, rows = highest(shard, noise, batch_size)
        slots = state.num + jnp.arange(batch_size)
        return state._replace(
            indices=state.indices.at[slots].set(rows, mode="drop"),
            scores=state.scores.at[slots].set(0, mode="drop"),
        )

    return lax.cond(state.num < target, fill, lambda state: state, state)


def _is_used(rows: _Rows) -> Array:
    if rows.is_labelled is None:
        return rows.is_available
    return rows.is_available | rows.is_labelled


def _checked(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None,
    weights: Array | None,
    batch_size: int,
) -> _Rows:
    checks.check_key(key)
    embedding = as_embedding(embedding)
    checks.check_mask("is_available", is_available, embedding.num_rows)
    if is_labelled is not None:
        checks.check_mask("is_labelled", is_labelled, embedding.num_rows)
    weights = check_weights(weights, embedding.num_rows)
    checks.check_batch_size(batch_size, embedding.num_rows)
    return _Rows(embedding, is_available, is_labelled, weights)


def check_weights(weights: Array | None, num_rows: int) -> Array | None:
    """Returns `weights` as an array, refused unless floating point and `[N]`."""
    if weights is None:
        return None
    weights = jnp.asarray(weights)
    checks.check_floating("weights", weights, "Cast them, to float32 for example.")
    if weights.shape != (num_rows,):
        raise ValueError(
            f"weights have shape {list(weights.shape)}, expected [{num_rows}]: "
            "one number for each row of the pool."
        )
    return weights
