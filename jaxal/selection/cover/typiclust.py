"""TypiClust: the most typical row of each cluster that nothing speaks for yet."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal.embeddings import Dense
from jaxal.pools.mesh import Shard
from jaxal.readings import composed
from jaxal.registry import register
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.door import pool_rows, selector, within
from jaxal.selection.engine.neighbours import nearest_neighbours
from jaxal.selection.engine.picks import group_numbers
from jaxal.selection.spread.k_means import k_means
from jaxal.selection.spread.turns import take_in_order, turns
from jaxal.types import Selection


class _Rows(NamedTuple):
    clusters: Array  # [N], -1 for rows in none
    is_available: Array  # [N]
    is_labelled: Array  # [N]


class _Order(NamedTuple):
    place: Array  # [G] int32, in which clusters are asked
    is_small: Array  # [G] bool, asked when the others have given all they have


@selector
def typiclust(
    key: Array,
    embedding: Array | Dense,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    max_clusters: int = 500,
    min_cluster_size: int = 5,
    num_neighbours: int = 20,
    num_steps: int = 10,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks the most typical row of each cluster without labels, largest ones first.

    Rows are clustered anew into `min(L + K, max_clusters)` clusters by k-means, `L`
    being the number of labelled rows. Clusters of fewer than `min_cluster_size` rows
    are left out; the others come in the order of their labelled rows, fewest first,
    then of their sizes, largest first. Each in turn gives its available row of highest
    typicality, `1 / (mean distance to the min(num_neighbours, N_c - 1) nearest rows of
    the cluster)`, and once all have, each gives its next one. Rows of clusters left out
    come last, in the same order. Ties, of clusters and of rows, are drawn with the key.

    Args:
      key: a typed key, consumed; used for the seeds of k-means and for ties.
      embedding: `[N, D]`, or `Dense`.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows that speak for their clusters; None for no such.
      batch_size: picks `K`, static.
      max_clusters: static. The default is the authors', as are the next two.
      min_cluster_size: rows of the smallest cluster to pick from. The authors' code
        wants more than 5.
      num_neighbours: neighbours that typicality looks at, static.
      num_steps: the most steps of k-means, static.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked. A score is the row's typicality, as large as a
      number can be for rows that coincide with all their neighbours, and 0 for a row
      alone in its cluster. Indices are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong, or rows have no coordinates written out.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import typiclust
      >>> x = jnp.array([0.5, 1.0, 1.5, 3.0, 4.0, 90.0, 90.5, 91.0, 93.0, 95.0, 96.0])
      >>> key, free = jax.random.key(0), jnp.ones(11, bool)
      >>> picks = typiclust(key, x[:, None], free, batch_size=2, num_neighbours=2)
      >>> picks.indices.tolist(), picks.scores.tolist()
      ([6, 1], [2.0, 2.0])

    Reference:
      Hacohen et al., "Active Learning on a Budget: Opposite Strategies Suit High and
      Low Budgets", ICML 2022. https://arxiv.org/abs/2202.02794
    """
    rows = pool_rows(embedding, is_available, is_labelled)
    num_rows, is_used = is_available.size, rows.is_used
    num_clusters = min(max_clusters, num_rows)
    # Never more clusters than rows: the rest would be on top of others.
    wanted = jnp.minimum(jnp.sum(rows.is_centre) + batch_size, jnp.sum(is_used))
    clusters = within(k_means)(
        key,
        embedding,
        is_used,
        num_clusters=num_clusters,
        num_live=jnp.maximum(wanted, 1),
        num_steps=num_steps,
        mesh=mesh,
    ).assignment
    key_clusters, key_rows = jax.random.split(key)
    found = _Rows(clusters, is_available, rows.is_centre)
    order = _order(key_clusters, found, min_cluster_size, num_clusters)
    near = within(nearest_neighbours)(
        rows.embedding,
        is_used & _may_give(found, order, batch_size),
        num_neighbours=min(num_neighbours, num_rows),
        groups=clusters,
        num_groups=num_clusters,
        mesh=mesh,
    )
    return _in_turn(key_rows, found, order, _mean(near.distances), batch_size)


@jax.jit
def _mean(distances: Array) -> Array:
    is_there = jnp.isfinite(distances)
    count = jnp.sum(is_there, axis=-1)
    total = jnp.sum(jnp.where(is_there, distances, 0), axis=-1)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.inf)


@partial(jax.jit, static_argnums=3)
def _order(
    key: Array, rows: _Rows, min_cluster_size: int | Array, num_clusters: int
) -> _Order:
    is_used = rows.is_available | rows.is_labelled
    size, labelled = _counts(rows, is_used, num_clusters)
    is_small = size < min_cluster_size
    lots = row_lots(key, Shard(None, 1, num_clusters))
    order = jnp.lexsort((lots, -size, labelled, is_small))
    place = (
        jnp.zeros(num_clusters, jnp.int32)
        .at[order]
        .set(jnp.arange(num_clusters, dtype=jnp.int32))
    )
    return _Order(place, is_small)


@partial(jax.jit, static_argnums=2)
def _may_give(rows: _Rows, order: _Order, batch_size: int) -> Array:
    """Rows `[N]` of the first K clusters that have something to give."""
    num_clusters = order.place.size
    place = order.place[jnp.clip(rows.clusters, 0, num_clusters - 1)]
    gives = jnp.zeros(num_clusters, bool).at[place].max(rows.is_available)
    return (jnp.cumsum(gives) <= batch_size)[place]


@partial(jax.jit, static_argnums=4)
def _in_turn(
    key: Array, rows: _Rows, order: _Order, distances: Array, batch_size: int
) -> Selection:
    """Returns one row of each cluster, then another of each, and so on."""
    cluster = jnp.clip(rows.clusters, 0, order.place.size - 1)
    lots = row_lots(key, Shard(None, 1, cluster.size))
    equals = group_numbers(distances)
    turn = turns(cluster, ~rows.is_available, equals, lots)
    # Never infinite: the largest number there is stands for no distance at all.
    least = jnp.finfo(distances.dtype).tiny
    typicality = 1 / jnp.maximum(distances, least)
    keys = (order.is_small[cluster], turn, order.place[cluster])
    return take_in_order(keys, rows.is_available, typicality, batch_size)


def _counts(rows: _Rows, is_used: Array, num_clusters: int) -> tuple[Array, Array]:
    def count(mask: Array) -> Array:
        cluster = jnp.where(mask, rows.clusters, num_clusters)
        return jnp.bincount(cluster, length=num_clusters + 1)[:-1]

    return count(is_used), count(rows.is_labelled)


register(
    "typiclust",
    composed(typiclust, "unit_features"),
    family="coverage, typical rows",
    cost="O(N (L + K) D), at most 500 clusters",
    budget="few labels",
)
