"""The end of a greedy selection: what is taken when nothing is worth taking."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxal.pools.mesh import Shard
from jaxal.selection.engine.chance import perturb
from jaxal.selection.engine.ranks import highest
from jaxal.types import Selection


class Picks(NamedTuple):
    """The picks so far, on every device the same but for `is_open`."""

    is_open: Array  # [L] available and not yet picked
    indices: Array  # [K]
    scores: Array  # [K]
    num: Array


def no_picks(is_available: Array, batch_size: int, dtype: jnp.dtype) -> Picks:
    """Returns picks before the first."""
    zeros = jnp.zeros(batch_size, dtype)
    return Picks(is_available, zeros.astype(jnp.int32), zeros, jnp.int32(0))


def add_pick(
    shard: Shard, picks: Picks, row: Array, score: Array, is_pick: Array
) -> Picks:
    """Returns picks with one more row of the pool, where it is one."""
    slot = jnp.where(is_pick, picks.num, picks.indices.size)
    return Picks(
        is_open=shard.clear(picks.is_open, jnp.where(is_pick, row, -1)[None]),
        indices=picks.indices.at[slot].set(row, mode="drop"),
        scores=picks.scores.at[slot].set(score, mode="drop"),
        num=picks.num + is_pick.astype(jnp.int32),
    )


def fill_up(
    key: Array, shard: Shard, picks: Picks, target: Array, score: float = 0.0
) -> Selection:
    """Returns the selection, filled up with rows at random, all of one score."""
    batch_size = picks.indices.size
    slots = jnp.arange(batch_size)

    def fill(picks: Picks) -> Picks:
        noise = perturb(key, shard, jnp.zeros(shard.num_rows, picks.scores.dtype))
        _, rows = highest(shard, jnp.where(picks.is_open, noise, -jnp.inf), batch_size)
        late = picks.num + slots
        return picks._replace(
            indices=picks.indices.at[late].set(rows, mode="drop"),
            scores=picks.scores.at[late].set(score, mode="drop"),
        )

    picks = lax.cond(picks.num < target, fill, lambda picks: picks, picks)
    is_valid = slots < target
    return Selection(
        indices=jnp.where(is_valid, picks.indices, -1),
        scores=jnp.where(is_valid, picks.scores, -jnp.inf),
        is_valid=is_valid,
    )


def with_pool_size(selection: Selection, num_rows: int) -> Selection:
    """Returns the selection with `num_rows` in place of what could not be picked."""
    indices = jnp.where(selection.is_valid, selection.indices, num_rows)
    return selection._replace(indices=indices.astype(jnp.int32))
