"""All pairs of rows, a few columns at a time: what is counted of them, never kept."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.distances import (
    Chunk,
    Space,
    fold_chunks,
    squared_distances,
)


def count_within(
    shard: Shard, space: Space, is_counted: Array, square: Array | float
) -> Array:
    """Returns `[L]` float32: counted rows of the pool within a squared radius.

    A pair adds to both of its rows, so half of all pairs are looked at.
    """
    size = min(_column_size(), shard.num_rows)
    num_rows = shard.num_devices * shard.num_rows

    def per_block(index: Array, counts: Array) -> Array:
        first = index * size
        columns = first + jnp.arange(size)
        others, is_other = shard.fetch((space.embedding, is_counted), columns)
        others = others.relative_to(space.origin)

        def add(chunk: Chunk, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            counts, of_columns = carry
            rows = shard.first_row + chunk.start + jnp.arange(chunk.norms.size)
            near = squared_distances(chunk.rows, chunk.norms, others) <= square
            here = chunk.is_new & (rows >= first)
            found = near & here[:, None] & is_other[None]
            counts = chunk.put(
                counts, chunk.cut(counts) + jnp.sum(found, -1, dtype=counts.dtype)
            )
            beyond = chunk.is_new & (rows >= first + size) & chunk.cut(is_counted)
            found = near & beyond[:, None]
            return counts, of_columns + jnp.sum(found, 0, dtype=counts.dtype)

        start = (counts, jnp.zeros(size, counts.dtype))
        skipped = jnp.clip(first - shard.first_row, 0, shard.num_rows)
        counts, of_columns = fold_chunks(space, add, start, skip=skipped)
        return shard.add(counts, columns, shard.sum(of_columns))

    # A sum of ones is exact up to 2^24 rows.
    counts = jnp.zeros(shard.num_rows, jnp.float32)
    return lax.fori_loop(0, -(-num_rows // size), per_block, counts)


def count_columns(
    shard: Shard, space: Space, is_column: Array, square: Array | float
) -> Array:
    """Returns what `count_within` does, for few counted rows: only these are sent."""
    size = min(64, shard.num_devices * shard.num_rows)
    total = shard.sum(jnp.sum(is_column, dtype=jnp.int32))

    def per_block(index: Array, counts: Array) -> Array:
        ranks = index * size + jnp.arange(size)
        columns = shard.ranked_rows(is_column, ranks)
        others = shard.fetch(space.embedding, columns).relative_to(space.origin)

        def add(chunk: Chunk, counts: Array) -> Array:
            near = squared_distances(chunk.rows, chunk.norms, others) <= square
            found = near & chunk.is_new[:, None] & (ranks < total)[None]
            found = jnp.sum(found, -1, dtype=counts.dtype)
            return chunk.put(counts, chunk.cut(counts) + found)

        return fold_chunks(space, add, counts)

    counts = jnp.zeros(shard.num_rows, jnp.float32)
    return lax.fori_loop(0, -(-total // size), per_block, counts)


def distances_from(space: Space, block: Embedding) -> Array:
    """Returns squared distances `[M, L]` from a few rows, as seen from the origin."""
    norms = block.sqnorm()

    def add(chunk: Chunk, found: Array) -> Array:
        distances = squared_distances(block, norms, chunk.rows)
        return lax.dynamic_update_slice_in_dim(found, distances, chunk.start, 1)

    shape = (block.num_rows, space.norms.size)
    return fold_chunks(space, add, jnp.zeros(shape, space.norms.dtype))


def _column_size() -> int:
    return 128 if jax.default_backend() == "cpu" else 1024
