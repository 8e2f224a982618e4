"""Who is near whom: nearest neighbours, and rows within a radius, in tiles.

All pairs of rows are looked at, a few columns at a time: those rows are sent to every
device, each compares its own with them, and nothing of `N x N` is kept.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.embeddings import Embedding, as_embedding
from jaxal.pools.mesh import SPREAD, Shard, over_rows
from jaxal.selection.engine.distances import Space, make_space, squared_distances
from jaxal.selection.engine.door import selector
from jaxal.selection.engine.pairs import count_within


class Neighbours(NamedTuple):
    """The rows nearest to each row, nearest first."""

    indices: Array  # [N, M] int32, N where there are fewer
    distances: Array  # [N, M] Euclidean, inf where there are fewer


class _Rows(NamedTuple):
    embedding: Embedding  # [N]
    groups: Array  # [N] int32 from 1 on, 0 for rows that are not used or pad the pool


@selector
def nearest_neighbours(
    embedding: Array | Embedding,
    is_used: Array | None = None,
    *,
    num_neighbours: int,
    groups: Array | None = None,
    num_groups: int = 1,
    mesh: Mesh | None = None,
) -> Neighbours:
    """Returns the nearest rows of each row, itself not counted.

    `O(N^2 D)`, or with groups `O(sum_g N_g^2 D)`: rows of other groups are not looked
    at. Ties go to the lower row.

    Args:
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_used: `[N]` bool, rows that have neighbours and are ones; all by default.
      num_neighbours: neighbours `M`, static.
      groups: `[N]` integers in `0 .. num_groups - 1`; neighbours are of one group.
        A row of a group outside is not used.
      num_groups: static.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Neighbours`.

    Raises:
      ValueError: a shape is wrong, or `num_neighbours` is not in `1 .. N`.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import nearest_neighbours
      >>> x = jnp.array([[0.0], [1.0], [3.0], [9.0]])
      >>> found = nearest_neighbours(x, num_neighbours=2)
      >>> found.indices.tolist(), found.distances[0].tolist()
      ([[1, 2], [0, 2], [1, 0], [2, 1]], [1.0, 3.0])
    """
    rows = _checked(embedding, is_used, groups, num_groups)
    num_rows = rows.groups.size
    if not 1 <= num_neighbours <= num_rows:
        raise ValueError(
            f"num_neighbours is {num_neighbours}, expected 1 to {num_rows}, the number "
            "of rows. Ask for fewer neighbours."
        )
    return _nearest_neighbours(rows, num_neighbours, num_groups, mesh)


@selector
def radius_degrees(
    embedding: Array | Embedding,
    radius: float | Array,
    is_used: Array | None = None,
    *,
    mesh: Mesh | None = None,
) -> Array:
    """Returns how many rows are within a radius of each row, itself included.

    Each pair is looked at once, `N^2 D / 2` products.

    Args:
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      radius: Euclidean; a row at just this distance is within.
      is_used: `[N]` bool, rows that count; all by default.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `[N]` int32, also for rows that do not count themselves.

    Raises:
      ValueError: a shape is wrong.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import radius_degrees
      >>> radius_degrees(jnp.array([[0.0], [1.0], [2.0], [9.0]]), 1.0).tolist()
      [2, 3, 2, 1]
    """
    rows = _checked(embedding, is_used, None, 1)
    return _radius_degrees(rows, radius, mesh)


@partial(jax.jit, static_argnums=2)
def _radius_degrees(rows: _Rows, radius: float | Array, mesh: Mesh | None) -> Array:
    def run(shard: Shard, radius: Array, rows: _Rows) -> Array:
        is_used = rows.groups > 0
        space = make_space(shard, rows.embedding, is_used)
        return count_within(shard, space, is_used, jnp.square(radius))

    counts = over_rows(run, radius, rows, mesh=mesh, out_specs=SPREAD)
    return counts.astype(jnp.int32)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _nearest_neighbours(
    rows: _Rows, num_neighbours: int, num_groups: int, mesh: Mesh | None
) -> Neighbours:
    num_rows = rows.groups.size

    def run(shard: Shard, nothing: None, rows: _Rows) -> Neighbours:
        space = make_space(shard, rows.embedding, rows.groups > 0)
        shape = (shard.num_rows, num_neighbours)
        found = Neighbours(
            jnp.full(shape, num_rows, jnp.int32),
            jnp.full(shape, jnp.inf, space.norms.dtype),
        )
        found = _fold_groups(shard, space, rows.groups - 1, num_groups, found)
        return found._replace(distances=jnp.sqrt(found.distances))

    return over_rows(run, None, rows, mesh=mesh, out_specs=SPREAD)


def _fold_groups(
    shard: Shard, space: Space, groups: Array, num_groups: int, found: Neighbours
) -> Neighbours:
    """Returns `found` after all pairs of a group, for every group in turn."""
    size = min(_tile_size(), shard.num_devices * shard.num_rows)
    order = jnp.argsort(groups).astype(jnp.int32)
    starts = jnp.searchsorted(groups[order], jnp.arange(num_groups + 1))

    def per_group(group: Array, found: Neighbours) -> Neighbours:
        is_member = groups == group
        total = shard.sum(jnp.sum(is_member, dtype=jnp.int32))
        first, last = starts[group], starts[group + 1]

        def per_block(block: Array, found: Neighbours) -> Neighbours:
            ranks = block * size + jnp.arange(size)
            columns = shard.ranked_rows(is_member, ranks)
            others = shard.fetch(space.embedding, columns).relative_to(space.origin)
            columns = jnp.where(ranks < total, columns, -1)

            def per_tile(tile: Array, found: Neighbours) -> Neighbours:
                position = first + tile * size + jnp.arange(size)
                local = order[jnp.minimum(position, order.size - 1)]
                found_here = _look(shard, space, local, others, columns, found)
                # Rows past the group are looked at in vain.
                local = jnp.where(position < last, local, order.size)
                return jax.tree.map(
                    lambda leaf, new: leaf.at[local].set(new, mode="drop"),
                    found,
                    found_here,
                )

            return lax.fori_loop(0, -(-(last - first) // size), per_tile, found)

        return lax.fori_loop(0, -(-total // size), per_block, found)

    return lax.fori_loop(0, num_groups, per_group, found)


def _look(
    shard: Shard,
    space: Space,
    local: Array,
    others: Embedding,
    columns: Array,
    found: Neighbours,
) -> Neighbours:
    """Returns what `local` rows of this device have found, `columns` included."""
    rows = space.embedding.take(local).relative_to(space.origin)
    distances = squared_distances(rows, space.norms[local], others)
    is_self = columns[None] == (local + shard.first_row)[:, None]
    distances = jnp.where(is_self | (columns < 0)[None], jnp.inf, distances)
    return _merge(jax.tree.map(lambda leaf: leaf[local], found), distances, columns)


def _merge(found: Neighbours, distances: Array, columns: Array) -> Neighbours:
    """Returns sorted lists with `distances` [Q, B] worked in; the old win ties."""
    all_columns = jnp.broadcast_to(columns[None], distances.shape)
    both = jnp.concatenate([found.distances, distances], axis=-1)
    negative, where = lax.top_k(-both, found.distances.shape[-1])
    indices = jnp.concatenate([found.indices, all_columns], axis=-1)
    return Neighbours(jnp.take_along_axis(indices, where, axis=-1), -negative)


def _tile_size() -> int:
    return 256 if jax.default_backend() == "cpu" else 1024


def _checked(
    embedding: Array | Embedding,
    is_used: Array | None,
    groups: Array | None,
    num_groups: int,
) -> _Rows:
    rows = as_embedding(embedding)
    assert is_used is not None  # the door has seen to it
    if groups is None:
        groups = jnp.zeros(rows.num_rows, jnp.int32)
    groups = jnp.asarray(groups)
    if groups.shape != (rows.num_rows,) or not jnp.issubdtype(
        groups.dtype, jnp.integer
    ):
        raise ValueError(
            f"groups have shape {list(groups.shape)}, dtype {groups.dtype}, expected "
            f"[{rows.num_rows}] integers. Pass the number of each row's group."
        )
    is_used = is_used & (groups >= 0) & (groups < num_groups)
    return _Rows(rows, jnp.where(is_used, groups + 1, 0).astype(jnp.int32))
