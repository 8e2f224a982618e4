"""Rows with their nearest centroids, and what the means of these need."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal import linalg
from jaxal.embeddings import Dense, Embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.distances import (
    Chunk,
    Space,
    fold_chunks,
    group_size,
    squared_distances,
)


class Assigned(NamedTuple):
    """Rows with their nearest centroids, and what the means of these need."""

    assignment: Array  # [L]
    distances: Array  # [L]
    sums: Array  # [M, D] of weighted rows
    mass: Array  # [M] of weights
    inertia: Array


def assign_rows(
    shard: Shard,
    space: Space,
    weights: Array,
    centroids: Array,
    is_live: Array | None = None,
) -> Assigned:
    """Returns the nearest centroids, and what their means need, in one pass.

    Centroids and sums are as seen from the origin of `space`.
    """
    num_clusters, num_rows = centroids.shape[0], shard.num_rows
    group = min(group_size(), num_clusters)
    # Clusters that may have no rows cost nothing: those that may come first.
    num_live = num_clusters if is_live is None else jnp.sum(is_live, dtype=jnp.int32)
    num_groups = -(-num_live // group)

    def add(chunk: Chunk, found: Assigned) -> Assigned:
        nearest, closest = _nearest(chunk, centroids, is_live, group, num_groups)
        here = jnp.where(chunk.is_new, chunk.cut(weights), 0)
        found = _add_members(chunk, nearest, here, found, group, num_groups)
        return found._replace(
            assignment=chunk.put(found.assignment, nearest),
            distances=chunk.put(found.distances, closest),
            inertia=found.inertia + jnp.sum(here * closest),
        )

    dtype = space.norms.dtype
    nothing = Assigned(
        assignment=jnp.zeros(num_rows, jnp.int32),
        distances=jnp.zeros(num_rows, dtype),
        sums=jnp.zeros_like(centroids),
        mass=jnp.zeros(num_clusters, dtype),
        inertia=jnp.zeros((), dtype),
    )
    found = fold_chunks(space, add, nothing)
    sums, mass, inertia = shard.sum((found.sums, found.mass, found.inertia))
    return found._replace(sums=sums, mass=mass, inertia=inertia)


def _nearest(
    chunk: Chunk,
    centroids: Array,
    is_live: Array | None,
    group: int,
    num_groups: Array | int,
) -> tuple[Array, Array]:
    """The nearest centroid of each row, the lower of equal ones, and its distance."""
    num_clusters = centroids.shape[0]
    alive = jnp.ones(num_clusters, bool) if is_live is None else is_live

    def look(index: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        # The last group overlaps the one before it: what it finds again is no nearer.
        first = jnp.minimum(index * group, num_clusters - group)
        some = lax.dynamic_slice_in_dim(centroids, first, group)
        distances = squared_distances(chunk.rows, chunk.norms, Dense(some))
        distances = to_live(distances, lax.dynamic_slice(alive, (first,), (group,)))
        found = jnp.min(distances, axis=-1)
        where = first + jnp.argmin(distances, axis=-1).astype(jnp.int32)
        is_nearer = found < best[1]
        return jnp.where(is_nearer, where, best[0]), jnp.where(
            is_nearer, found, best[1]
        )

    far = jnp.full_like(chunk.norms, jnp.inf)
    nobody = jnp.zeros(far.shape, jnp.int32)
    return lax.fori_loop(0, num_groups, look, (nobody, far))


def _add_members(
    chunk: Chunk,
    nearest: Array,
    here: Array,
    found: Assigned,
    group: int,
    num_groups: Array | int,
) -> Assigned:
    """Sums and masses of clusters, with the rows of a chunk."""
    rows, num_clusters = coordinates(chunk.rows), found.mass.size
    if jax.default_backend() == "cpu":  # one row after the other, in their order
        sums = found.sums.at[nearest].add(here[:, None] * rows)
        return found._replace(sums=sums, mass=found.mass.at[nearest].add(here))

    def add(index: Array, total: tuple[Array, Array]) -> tuple[Array, Array]:
        first = jnp.minimum(index * group, num_clusters - group)
        # A product with one-hot rows: sums in a fixed order on a GPU. Of a group that
        # overlaps the one before, those that were there are not added twice.
        is_new = nearest >= index * group
        members = jax.nn.one_hot(nearest - first, group, dtype=here.dtype)
        members *= jnp.where(is_new, here, 0)[:, None]
        more = linalg.product(members.T, rows)
        return _added(total[0], more, first), _added(total[1], members.sum(0), first)

    sums, mass = lax.fori_loop(0, num_groups, add, (found.sums, found.mass))
    return found._replace(sums=sums, mass=mass)


def _added(total: Array, more: Array, first: Array) -> Array:
    old = lax.dynamic_slice_in_dim(total, first, more.shape[0])
    return lax.dynamic_update_slice_in_dim(total, old + more, first, 0)


def to_live(distances: Array, is_live: Array | None) -> Array:
    """Distances `[N, K]` to centres, endless to those that are none."""
    return (
        distances if is_live is None else jnp.where(is_live[None], distances, jnp.inf)
    )


def coordinates(embedding: Embedding) -> Array:
    """Returns the rows `[N, D]` of an embedding that is written out."""
    assert isinstance(embedding, Dense)  # `_checked` has seen to it
    return embedding.x
