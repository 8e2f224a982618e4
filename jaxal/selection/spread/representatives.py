"""Rows that stand for centroids: the nearest of each, no row twice."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.embeddings import Dense
from jaxal.pools.mesh import Shard, over_rows
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.distances import Space, make_space, take_chunk
from jaxal.selection.engine.pairs import distances_from
from jaxal.selection.engine.picks import best_of, first_valid, num_to_pick
from jaxal.types import Selection

_BLOCK = 32  # centroids whose distances to all rows are held at a time


@partial(jax.jit, static_argnums=4)
def represent(
    key: Array,
    embedding: Dense,
    is_available: Array,
    centroids: Array,
    mesh: Mesh | None,
) -> Selection:
    """Returns the nearest available row of each centroid `[K, D]` in turn."""

    def run(shard: Shard, shared: tuple, rows: tuple) -> Selection:
        (key, centroids), (embedding, is_available) = shared, rows
        space = make_space(shard, embedding, is_available)
        around = Dense(centroids).relative_to(space.origin)
        return _take_nearest(key, shard, space, around, is_available)

    return over_rows(run, (key, centroids), (embedding, is_available), mesh=mesh)


def _take_nearest(
    key: Array, shard: Shard, space: Space, centroids: Dense, is_open: Array
) -> Selection:
    batch_size = centroids.num_rows
    size = min(_BLOCK, batch_size)
    target, lots = num_to_pick(shard, is_open, batch_size), row_lots(key, shard)

    def per_block(index: Array, carry: tuple[Array, Array, Array]) -> tuple:
        # The last block overlaps the one before it, whose picks are kept.
        start = jnp.minimum(index * size, batch_size - size)
        between = distances_from(space, take_chunk(centroids, start, size))

        def take(place: Array, carry: tuple[Array, Array, Array]) -> tuple:
            is_open, rows, scores = carry
            near = jnp.where(is_open, -between[place], -jnp.inf)
            score, row = best_of(shard, near, lots)
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
    return first_valid(rows, scores, target)
