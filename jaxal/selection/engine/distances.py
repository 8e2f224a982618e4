"""Squared distances to the nearest centre, kept up to date in chunks of rows."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard

_SAMPLE = 127  # rows the origin is taken from


class Centres(NamedTuple):
    """The first `num` of `M` rows, as seen from the origin."""

    rows: Embedding  # [M]
    num: Array


class Space(NamedTuple):
    """The rows of this device, and what their distances are measured with.

    Rows are looked at from `origin`, a point amid them, chunk by chunk: distances do
    not change, but `|x|^2 + |y|^2 - 2 <x, y>` then subtracts numbers of their size.
    """

    embedding: Embedding  # [L], as given
    origin: Any
    norms: Array  # [L] squared, as seen from the origin


class Chunk(NamedTuple):
    """Some rows in a row, as seen from the origin."""

    start: Array
    rows: Embedding  # [B]
    norms: Array  # [B]
    is_new: Array  # [B] bool, False for rows that the chunk before had already

    def cut(self, values: Array) -> Array:
        """Returns these rows of `values` [L]."""
        return lax.dynamic_slice_in_dim(values, self.start, self.norms.size)

    def put(self, values: Array, some: Array) -> Array:
        """Returns `values` [L] with these rows replaced."""
        return lax.dynamic_update_slice_in_dim(values, some, self.start, 0)


def make_space(shard: Shard, embedding: Embedding, is_used: Array) -> Space:
    """Returns the space of `embedding` [L], seen from amid its `is_used` rows."""
    count = shard.sum(jnp.sum(is_used, dtype=jnp.int32))
    step = jnp.maximum(count // _SAMPLE, 1)
    ranks = jnp.arange(_SAMPLE) * step
    sample = shard.fetch(embedding, shard.ranked_rows(is_used, ranks))
    origin = sample.origin(ranks < count)
    norms = map_chunks(embedding, lambda rows: rows.relative_to(origin).sqnorm())
    return Space(embedding, origin, norms)


def map_chunks(embedding: Embedding, fn: Any) -> Array:
    """Returns `fn` of every row, `[L]`, computed chunk by chunk."""
    size = chunk_size(embedding.num_rows)
    dtype = jax.eval_shape(fn, take_chunk(embedding, 0, size)).dtype

    def step(index: Array, carry: tuple[Embedding, Array]) -> tuple[Embedding, Array]:
        rows, out = stored(carry[0]), carry[1]
        start = _chunk_start(index, embedding.num_rows)
        values = fn(take_chunk(rows, start, size))
        return rows, lax.dynamic_update_slice_in_dim(out, values, start, 0)

    count = -(-embedding.num_rows // size)
    nothing = jnp.zeros(embedding.num_rows, dtype)
    return lax.fori_loop(0, count, step, (embedding, nothing))[1]


def squared_distances(rows: Embedding, norms: Array, others: Embedding) -> Array:
    """Returns squared distances `[N, M]`, exactly zero for rows that are equal.

    What rounding leaves between equal rows, some units in the last place of their
    squared norms, is taken for zero, as is anything as small.
    """
    scale = norms[:, None] + others.sqnorm()[None]
    return distances_of(rows.inner(others), scale, rows.num_products)


def distances_of(products: Array, scale: Array, num_products: int) -> Array:
    """Returns squared distances, given inner products and sums of squared norms."""
    distances = scale - 2 * products
    units = 4 + math.sqrt(num_products)
    tolerance = units * float(jnp.finfo(distances.dtype).eps)
    return jnp.where(distances <= tolerance * scale, 0, distances)


def fold_chunks(
    space: Space,
    fn: Callable[[Chunk, Any], Any],
    carry: Any,
    *,
    skip: Array | int = 0,
) -> Any:
    """Returns `carry` after `fn(chunk, carry)` of every chunk of rows in turn.

    Chunks of nothing but the first `skip` rows are left out.
    """
    num_rows = space.embedding.num_rows
    size = chunk_size(num_rows)

    def step(index: Array, both: tuple[Embedding, Any]) -> tuple[Embedding, Any]:
        embedding, carry = stored(both[0]), both[1]
        start = _chunk_start(index, num_rows)
        rows = take_chunk(embedding, start, size).relative_to(space.origin)
        norms = lax.dynamic_slice_in_dim(space.norms, start, size)
        is_new = start + jnp.arange(size) >= index * size
        return embedding, fn(Chunk(start, rows, norms, is_new), carry)

    both = (space.embedding, carry)
    return lax.fori_loop(skip // size, -(-num_rows // size), step, both)[1]


def stored(embedding: Embedding) -> Embedding:
    """Returns the rows as they are stored, for the body of a loop that carries them.

    Where half precision has no arithmetic, as on a CPU, compilers slice it in float32,
    and would convert all rows ahead of a loop through which they pass unchanged.
    """

    def keep(leaf: Array) -> Array:
        return lax.optimization_barrier(leaf) if leaf.dtype.itemsize < 4 else leaf

    return jax.tree.map(keep, embedding)


def refresh(space: Space, nearest: Array, centres: Centres) -> Array:
    """Returns `nearest` [L], lowered to the distance from the closest new centre."""
    num_centres = centres.rows.num_rows
    group = min(group_size(), num_centres)
    num_groups = -(-centres.num // group)

    def lower(chunk: Chunk, nearest: Array) -> Array:
        def step(index: Array, nearest: Array) -> Array:
            # The last group overlaps the one before it, too.
            first = jnp.minimum(index * group, num_centres - group)
            others = take_chunk(centres.rows, first, group)
            distances = squared_distances(chunk.rows, chunk.norms, others)
            is_centre = first + jnp.arange(group) < centres.num
            found = jnp.min(jnp.where(is_centre[None], distances, jnp.inf), axis=-1)
            return jnp.minimum(nearest, found)

        before = chunk.cut(nearest)
        return chunk.put(nearest, lax.fori_loop(0, num_groups, step, before))

    return lax.cond(
        centres.num > 0, lambda: fold_chunks(space, lower, nearest), lambda: nearest
    )


def take_chunk(embedding: Embedding, start: Array | int, size: int) -> Embedding:
    """Returns `size` rows from `start` on."""
    return jax.tree.map(
        lambda leaf: lax.dynamic_slice_in_dim(leaf, start, size), embedding
    )


def chunk_size(num_rows: int) -> int:
    """Returns how many rows are looked at together: a cache full, or a GPU full."""
    most = 1024 if jax.default_backend() == "cpu" else 16384
    return min(most, num_rows)


def group_size() -> int:
    """Returns how many centres one product takes: no more than it must, on a CPU."""
    return 32 if jax.default_backend() == "cpu" else 256


def _chunk_start(index: Array, num_rows: int) -> Array:
    # The last chunk overlaps the one before it instead of running past the end.
    size = chunk_size(num_rows)
    return jnp.minimum(index * size, num_rows - size)
