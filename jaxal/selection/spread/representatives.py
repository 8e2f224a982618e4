"""Rows that stand for centroids: the nearest of each, no row twice."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.embeddings import Dense
from jaxal.pools.mesh import Shard, over_rows
from jaxal.selection.engine.distances import Space, make_space, take_chunk
from jaxal.selection.engine.pairs import distances_from
from jaxal.selection.engine.ranks import best_of
from jaxal.types import Selection

_BLOCK = 32  # centroids whose distances to all rows are held at a time


class _Rows(NamedTuple):
    embedding: Dense  # [N, D]
    is_available: Array  # [N]


@partial(jax.jit, static_argnums=3)
def represent(
    embedding: Dense, is_available: Array, centroids: Array, mesh: Mesh | None
) -> Selection:
    """Returns the nearest available row of each centroid `[K, D]` in turn."""
    num_rows = embedding.num_rows

    def run(shard: Shard, centroids: Array, rows: _Rows) -> Selection:
        space = make_space(shard, rows.embedding, rows.is_available)
        around = Dense(centroids).relative_to(space.origin)
        return _take_nearest(shard, space, around, rows.is_available, num_rows)

    rows = _Rows(embedding, is_available)
    return over_rows(run, centroids, rows, mesh=mesh)


def _take_nearest(
    shard: Shard, space: Space, centroids: Dense, is_open: Array, num_rows: int
) -> Selection:
    batch_size = centroids.num_rows
    size = min(_BLOCK, batch_size)
    target = shard.sum(jnp.sum(is_open, dtype=jnp.int32))

    def per_block(index: Array, carry: tuple[Array, Array, Array]) -> tuple:
        # The last block overlaps the one before it, whose picks are kept.
        start = jnp.minimum(index * size, batch_size - size)
        between = distances_from(space, take_chunk(centroids, start, size))

        def take(place: Array, carry: tuple[Array, Array, Array]) -> tuple:
            is_open, rows, scores = carry
            score, row = best_of(shard, jnp.where(is_open, -between[place], -jnp.inf))
            return (
                shard.clear(is_open, row[None]),
                rows.at[start + place].set(row),
                scores.at[start + place].set(score),
            )

        return lax.fori_loop(index * size - start, size, take, carry)

    start = (
        is_open,
        jnp.zeros(batch_size, jnp.int32),
        jnp.zeros(batch_size, space.norms.dtype),
    )
    num_blocks = -(-batch_size // size)
    _, rows, scores = lax.fori_loop(0, num_blocks, per_block, start)
    is_valid = jnp.arange(batch_size) < target
    return Selection(
        indices=jnp.where(is_valid, rows, num_rows),
        scores=jnp.where(is_valid, scores, -jnp.inf),
        is_valid=is_valid,
    )
