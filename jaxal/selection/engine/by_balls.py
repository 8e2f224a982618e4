"""Greedy coverage by balls: few passes over the pool, exact picks.

The degree of a row is the number of uncovered rows in its ball. Degrees never grow, so
those of the last pass are upper bounds: among a few candidates, whose balls are at
hand, picking goes on for as long as no row elsewhere can be better. After a pass the
rows it has covered are taken off all degrees, each row of the pool once in all.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxal.embeddings import Embedding
from jaxal.pools.mapping import either
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.distances import (
    Chunk,
    Space,
    fold_chunks,
    squared_distances,
)
from jaxal.selection.engine.pairs import count_columns, count_within, distances_from
from jaxal.selection.engine.picks import (
    Bound,
    Picks,
    add_picks,
    best_of,
    bound_of,
    fill_up,
    highest_by_lot,
    no_picks,
    num_to_pick,
    pick_among,
    with_first,
)
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
    picks: Picks
    is_stuck: Array  # no row is worth anything


class _Block(NamedTuple):
    """Candidates, and what was known of them before the first is picked."""

    rows: Array  # [M] of the pool
    merit: Array  # [M]
    lots: Array  # [M]
    balls: Array  # [M, L] the rows of this device in each one's ball
    first: Array  # row of the pool that is picked first


class _Walk(NamedTuple):
    """Picking among candidates."""

    degrees: Array  # [M] now
    is_open: Array  # [M]
    is_uncovered: Array  # [L] now
    order: Array  # [M] positions picked
    scores: Array  # [M]
    num: Array
    is_certain: Array


def greedy_cover(
    key: Array, shard: Shard, space: Space, cover: Cover, batch_size: int
) -> Selection:
    """Returns the greedy picks; rows worth nothing come last, at random.

    Args:
      key: used for ties, and for rows that are worth nothing.
      shard: which rows this device holds.
      space: these rows.
      cover: the problem.
      batch_size: picks `K`.

    Returns:
      `Selection`; a score is what a row was worth when it was picked.
    """
    target = num_to_pick(shard, cover.is_available, batch_size)
    lots = row_lots(key, shard)
    state = _State(
        degrees=count_within(shard, space, cover.is_uncovered, cover.square),
        is_uncovered=cover.is_uncovered,
        picks=no_picks(cover.is_available, batch_size, jnp.dtype("float32")),
        is_stuck=jnp.bool_(False),
    )
    state = lax.while_loop(
        lambda state: (state.picks.num < target) & ~state.is_stuck,
        lambda state: _advance(shard, space, cover, lots, target, state),
        state,
    )
    return fill_up(key, shard, state.picks, target)


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
    shard: Shard,
    space: Space,
    cover: Cover,
    lots: Array,
    target: Array,
    state: _State,
) -> _State:
    """One pass: candidates, picks among them, and what these leave uncovered."""
    rows, first = _propose(shard, cover, lots, state)
    fetched = (space.embedding, state.degrees, cover.merit, state.picks.is_open, lots)
    some, degrees, merit, is_open, own = shard.fetch(fetched, rows)
    # A row that is proposed twice is one candidate.
    is_once = jnp.sum(jnp.tril(rows[:, None] == rows[None]), axis=-1) == 1
    balls = distances_from(space, some.relative_to(space.origin)) <= cover.square
    block = _Block(rows, merit, own, balls, first)
    walk = _Walk(
        degrees=degrees,
        is_open=is_open & is_once,
        is_uncovered=state.is_uncovered,
        order=jnp.zeros(rows.size, jnp.int32),
        scores=jnp.zeros(rows.size, jnp.float32),
        num=jnp.int32(0),
        is_certain=jnp.bool_(True),
    )
    step, left = _stepper(shard, cover, lots, state, block), target - state.picks.num
    walk = lax.while_loop(lambda walk: walk.is_certain & (walk.num < left), step, walk)
    covered = state.is_uncovered & ~walk.is_uncovered
    return _State(
        degrees=state.degrees - count_columns(shard, space, covered, cover.square),
        is_uncovered=walk.is_uncovered,
        picks=add_picks(shard, state.picks, rows[walk.order], walk.scores, walk.num),
        is_stuck=walk.num == 0,
    )


def _propose(
    shard: Shard, cover: Cover, lots: Array, state: _State
) -> tuple[Array, Array]:
    """Returns rows worth most, and of largest degree where that counts; the best."""
    num = min(NUM_CANDIDATES, shard.num_devices * shard.num_rows)
    degrees = jnp.where(state.picks.is_open, state.degrees, -1)
    largest = shard.max(jnp.max(degrees))
    worth = cover.worth(state.degrees, jnp.maximum(largest, 0), cover.merit)
    worth = jnp.where(state.picks.is_open, worth, -1)
    _, first = best_of(shard, worth, lots)
    _, rows = highest_by_lot(shard, worth, lambda: lots, num)
    if cover.is_relative:
        _, others = highest_by_lot(shard, degrees, lambda: lots, num)
        rows = jnp.concatenate([rows[: num - num // 2], others[: num // 2]])
    return with_first(rows, first), first


def _stepper(
    shard: Shard, cover: Cover, lots: Array, state: _State, block: _Block
) -> Callable[[_Walk], _Walk]:
    """Returns the function that makes the next pick, or says that it is uncertain."""
    is_elsewhere = shard.clear(state.picks.is_open, block.rows)
    degrees = jnp.where(is_elsewhere, state.degrees, -1)
    largest_elsewhere = shard.max(jnp.max(degrees))
    bound = bound_of(shard, degrees, lots, block.first)

    def elsewhere(largest: Array) -> Bound:
        if not cover.is_relative:  # worth is the degree
            return bound
        worth = cover.worth(state.degrees, largest, cover.merit)
        worth = jnp.where(is_elsewhere, worth, -1)
        return bound_of(shard, worth, lots, block.first)

    def step(walk: _Walk) -> _Walk:
        largest = jnp.max(jnp.where(walk.is_open, walk.degrees, 0))
        is_known = ~jnp.bool_(cover.is_relative) | (largest >= largest_elsewhere)
        largest = jnp.maximum(largest, largest_elsewhere)
        worth = cover.worth(walk.degrees, largest, block.merit)
        worth = jnp.where(walk.is_open, worth, -1)
        place, is_certain = pick_among(worth, block.lots, elsewhere(largest))
        # Right after a pass nothing is stale, and the first pick is known.
        is_first = walk.num == 0
        place = jnp.where(is_first, jnp.argmax(block.rows == block.first), place)
        is_certain = (is_first | (is_known & is_certain)) & (worth[place] > 0)
        picked = _pick(shard, walk, block.balls, place, worth[place])
        kept = walk._replace(is_certain=jnp.bool_(False))
        return either(is_certain, picked, kept)

    return step


def _pick(shard: Shard, walk: _Walk, balls: Array, place: Array, score: Array) -> _Walk:
    covered = balls[place] & walk.is_uncovered
    lost = shard.sum(jnp.sum(balls & covered[None], axis=-1, dtype=walk.degrees.dtype))
    return walk._replace(
        degrees=walk.degrees - lost,
        is_open=walk.is_open.at[place].set(False),
        is_uncovered=walk.is_uncovered & ~covered,
        order=walk.order.at[walk.num].set(place.astype(walk.order.dtype)),
        scores=walk.scores.at[walk.num].set(score.astype(walk.scores.dtype)),
        num=walk.num + 1,
    )
