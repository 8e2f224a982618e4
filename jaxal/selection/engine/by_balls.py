"""Greedy coverage by balls: few passes over the pool, exact picks.

The degree of a row is the number of uncovered rows in its ball. Degrees never grow, so
those of the last pass are upper bounds: among a few candidates, whose balls are at
hand, picking goes on for as long as no row elsewhere can be better. After a pass the
rows it has covered are taken off all degrees, each row of the pool once in all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.chance import perturb
from jaxal.selection.engine.distances import (
    Chunk,
    Space,
    fold_chunks,
    squared_distances,
)
from jaxal.selection.engine.pairs import count_columns, count_within, distances_from
from jaxal.selection.engine.ranks import best_of, highest
from jaxal.types import Selection

NUM_CANDIDATES = 32


class Cover(NamedTuple):
    """What is to be covered, and how rows are ranked.

    `worth(degrees, largest, merit)` never falls where a degree rises; `largest` is the
    largest degree there is.
    """

    square: Array  # of the radius
    is_available: Array  # [L]
    is_uncovered: Array  # [L] rows that count
    merit: Array  # [L] what else a row is worth
    worth: Callable[[Array, Array, Array], Array]
    is_relative: bool  # whether `worth` looks at `largest`


class _State(NamedTuple):
    degrees: Array  # [L] as of the last pass
    is_uncovered: Array  # [L]
    is_open: Array  # [L]
    indices: Array  # [K]
    scores: Array  # [K]
    num: Array
    is_stuck: Array  # no row is worth anything


class _Walk(NamedTuple):
    """Picking among candidates."""

    degrees: Array  # [M] now
    is_open: Array  # [M]
    is_uncovered: Array  # [L] now
    indices: Array  # [K]
    scores: Array  # [K]
    num: Array
    is_certain: Array


def greedy_cover(
    key: Array, shard: Shard, space: Space, cover: Cover, batch_size: int, num_rows: int
) -> Selection:
    """Returns the greedy picks; rows worth nothing come last, at random.

    Args:
      key: used for rows that are worth nothing.
      shard: which rows this device holds.
      space: these rows.
      cover: the problem.
      batch_size: picks `K`.
      num_rows: rows `N` of the pool, the index of a pick that could not be had.

    Returns:
      `Selection`; a score is what a row was worth when it was picked.
    """
    target = shard.sum(jnp.sum(cover.is_available, dtype=jnp.int32))
    target = jnp.minimum(target, batch_size)
    state = _State(
        degrees=count_within(shard, space, cover.is_uncovered, cover.square),
        is_uncovered=cover.is_uncovered,
        is_open=cover.is_available,
        indices=jnp.zeros(batch_size, jnp.int32),
        scores=jnp.zeros(batch_size, jnp.float32),
        num=jnp.int32(0),
        is_stuck=jnp.bool_(False),
    )
    state = lax.while_loop(
        lambda state: (state.num < target) & ~state.is_stuck,
        lambda state: _advance(shard, space, cover, target, state),
        state,
    )
    state = _fill(key, shard, state, target)
    is_valid = jnp.arange(batch_size) < target
    return Selection(
        indices=jnp.where(is_valid, state.indices, num_rows),
        scores=jnp.where(is_valid, state.scores, -jnp.inf),
        is_valid=is_valid,
    )


def is_within_any(
    shard: Shard, space: Space, is_centre: Array, radii: Array, size: int = 64
) -> Array:
    """Returns `[L]` bool: rows in the ball of some centre, each of its own radius."""
    total = shard.sum(jnp.sum(is_centre, dtype=jnp.int32))
    size = min(size, shard.num_devices * shard.num_rows)

    def per_block(index: Array, is_covered: Array) -> Array:
        others, squares = centre_block(shard, space, is_centre, radii, index, size)

        def add(chunk: Chunk, is_covered: Array) -> Array:
            between = squared_distances(chunk.rows, chunk.norms, others)
            found = jnp.any(between <= squares[None], axis=-1)
            return chunk.put(is_covered, chunk.cut(is_covered) | found)

        return fold_chunks(space, add, is_covered)

    nothing = jnp.zeros(shard.num_rows, bool)
    return lax.fori_loop(0, -(-total // size), per_block, nothing)


def centre_block(
    shard: Shard, space: Space, is_centre: Array, radii: Array, index: Array, size: int
) -> tuple[Embedding, Array]:
    """Returns the next centres, and squared radii, below zero past the last centre."""
    ranks = index * size + jnp.arange(size)
    total = shard.sum(jnp.sum(is_centre, dtype=jnp.int32))
    rows = shard.ranked_rows(is_centre, ranks)
    others, found = shard.fetch((space.embedding, radii), rows)
    squares = jnp.where(ranks < total, jnp.square(found), -1)
    return others.relative_to(space.origin), squares


def _advance(
    shard: Shard, space: Space, cover: Cover, target: Array, state: _State
) -> _State:
    """One pass: candidates, picks among them, and what these leave uncovered."""
    rows = _propose(shard, cover, state)
    fetched = (space.embedding, state.degrees, cover.merit, state.is_open)
    block, degrees, merit, is_open = shard.fetch(fetched, rows)
    # A row that is proposed twice is one candidate.
    is_first = jnp.sum(jnp.tril(rows[:, None] == rows[None]), axis=-1) == 1
    balls = distances_from(space, block.relative_to(space.origin)) <= cover.square
    walk = _Walk(
        degrees=degrees,
        is_open=is_open & is_first,
        is_uncovered=state.is_uncovered,
        indices=state.indices,
        scores=state.scores,
        num=state.num,
        is_certain=jnp.bool_(True),
    )
    step = _stepper(shard, cover, state, rows, merit, balls)
    walk = lax.while_loop(
        lambda walk: walk.is_certain & (walk.num < target), step, walk
    )
    is_new = (jnp.arange(walk.indices.size) >= state.num) & (
        jnp.arange(walk.indices.size) < walk.num
    )
    covered = state.is_uncovered & ~walk.is_uncovered
    return _State(
        degrees=state.degrees - count_columns(shard, space, covered, cover.square),
        is_uncovered=walk.is_uncovered,
        is_open=shard.clear(state.is_open, jnp.where(is_new, walk.indices, -1)),
        indices=walk.indices,
        scores=walk.scores,
        num=walk.num,
        is_stuck=walk.num == state.num,
    )


def _propose(shard: Shard, cover: Cover, state: _State) -> Array:
    """Returns the rows worth most, and of largest degree where that counts too."""
    num = min(NUM_CANDIDATES, shard.num_devices * shard.num_rows)
    degrees = jnp.where(state.is_open, state.degrees, -1)
    largest, _ = best_of(shard, degrees)
    worth = cover.worth(state.degrees, jnp.maximum(largest, 0), cover.merit)
    _, rows = highest(shard, jnp.where(state.is_open, worth, -1), num)
    if cover.is_relative:
        _, others = highest(shard, degrees, num)
        rows = jnp.concatenate([rows[: num - num // 2], others[: num // 2]])
    # In the order of rows, so that the first of several maxima is the lowest row.
    return jnp.sort(rows)


def _stepper(
    shard: Shard, cover: Cover, state: _State, rows: Array, merit: Array, balls: Array
) -> Callable[[_Walk], _Walk]:
    """Returns the function that makes the next pick, or says that it is uncertain."""
    is_elsewhere = shard.clear(state.is_open, rows)
    degree_elsewhere, row_elsewhere = best_of(
        shard, jnp.where(is_elsewhere, state.degrees, -1)
    )

    def elsewhere(largest: Array) -> tuple[Array, Array]:
        if not cover.is_relative:  # worth is the degree's order
            bound = cover.worth(degree_elsewhere, largest, jnp.zeros_like(largest))
            return bound, row_elsewhere
        worth = cover.worth(state.degrees, largest, cover.merit)
        return best_of(shard, jnp.where(is_elsewhere, worth, -1))

    def step(walk: _Walk) -> _Walk:
        largest = jnp.max(jnp.where(walk.is_open, walk.degrees, 0))
        is_known = ~jnp.bool_(cover.is_relative) | (largest >= degree_elsewhere)
        is_known |= walk.num == state.num  # nothing is stale yet
        largest = jnp.maximum(largest, degree_elsewhere)
        worth = cover.worth(walk.degrees, largest, merit)
        worth = jnp.where(walk.is_open, worth, -1)
        best = jnp.argmax(worth)
        bound, bound_row = elsewhere(largest)
        is_best = (worth[best] > bound) | (
            (worth[best] == bound) & (rows[best] < bound_row)
        )
        is_certain = is_known & is_best & (worth[best] > 0)
        picked = _pick(shard, walk, rows, balls, best, worth[best])
        kept = walk._replace(is_certain=jnp.bool_(False))
        return jax.tree.map(
            lambda new, old: jnp.where(is_certain, new, old), picked, kept
        )

    return step


def _pick(
    shard: Shard, walk: _Walk, rows: Array, balls: Array, best: Array, score: Array
) -> _Walk:
    covered = balls[best] & walk.is_uncovered
    lost = shard.sum(jnp.sum(balls & covered[None], axis=-1, dtype=walk.degrees.dtype))
    return walk._replace(
        degrees=walk.degrees - lost,
        is_open=walk.is_open.at[best].set(False),
        is_uncovered=walk.is_uncovered & ~covered,
        indices=walk.indices.at[walk.num].set(rows[best]),
        scores=walk.scores.at[walk.num].set(score.astype(walk.scores.dtype)),
        num=walk.num + 1,
    )


def _fill(key: Array, shard: Shard, state: _State, target: Array) -> _State:
    """Takes rows at random when all that is left is worth nothing."""

    def fill(state: _State) -> Any:
        noise = perturb(key, shard, jnp.zeros(shard.num_rows, jnp.float32))
        noise = jnp.where(state.is_open, noise, -jnp.inf)
        _, rows = highest(shard, noise, state.indices.size)
        slots = state.num + jnp.arange(state.indices.size)
        return state._replace(
            indices=state.indices.at[slots].set(rows, mode="drop"),
            scores=state.scores.at[slots].set(0, mode="drop"),
        )

    return lax.cond(state.num < target, fill, lambda state: state, state)
