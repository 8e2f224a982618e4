"""Rows that stand for centroids: the nearest of each, no row twice."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal import checks
from jaxal.embeddings import Dense, as_embedding
from jaxal.selection.distances import Space, make_space, take_chunk
from jaxal.selection.k_means import k_means
from jaxal.selection.pairs import distances_from
from jaxal.selection.ranked import best_of
from jaxal.selection.sharding import Shard, find_mesh, over_rows
from jaxal.types import Selection

_BLOCK = 32  # centroids whose distances to all rows are held at a time


class _Rows(NamedTuple):
    embedding: Dense  # [N, D]
    is_available: Array  # [N]


def k_means_selection(
    key: Array,
    embedding: Array | Dense,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    weights: Array | None = None,
    num_steps: int = 20,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks the row nearest to each of `K` centroids of the available rows.

    `K` clusters by k-means, then for one centroid after another its nearest row that is
    not yet picked. Labelled rows are not looked at: what they cover is clustered and
    bought again. Two passes of `O(N K D)` a step.

    Args:
      key: a typed key, consumed; used for the seeds of k-means.
      embedding: `[N, D]`, or `Dense`.
      is_available: `[N]` bool, rows that are clustered and may be picked.
      is_labelled: `[N]` bool, not used.
      batch_size: picks and clusters `K`, static.
      weights: `[N]`, not negative, what rows count in their means; with uncertainties
        this is diverse mini-batch active learning.
      num_steps: the most steps of k-means, static.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order of clusters. A score is minus the squared distance to the
      centroid. Indices are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong, or rows have no coordinates written out.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import k_means_selection
      >>> x = jnp.array([[0.0], [1.0], [2.0], [10.0], [11.0], [15.0]])
      >>> free = jnp.ones(6, bool)
      >>> picks = k_means_selection(jax.random.key(0), x, free, batch_size=2)
      >>> sorted(picks.indices.tolist())
      [1, 4]

    Reference:
      Zhdanov, "Diverse mini-batch Active Learning", 2019.
      https://arxiv.org/abs/1901.05954
    """
    del is_labelled
    rows = as_embedding(embedding)
    checks.check_mask("is_available", is_available, rows.num_rows)
    checks.check_batch_size(batch_size, rows.num_rows)
    mesh = find_mesh(mesh, (rows, is_available))
    clusters = k_means(
        key,
        embedding,
        is_available,
        num_clusters=batch_size,
        weights=weights,
        num_steps=num_steps,
        mesh=mesh,
    )
    assert isinstance(rows, Dense)  # k_means has seen to it
    return represent(rows, is_available, clusters.centroids, mesh)


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
