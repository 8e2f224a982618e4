"""Cluster-Margin: uncertain rows, from clusters that take turns."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard, over_rows
from jaxal.readings import composed, logits, read
from jaxal.registry import register
from jaxal.scores import margin
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.distances import map_chunks, squared_distances
from jaxal.selection.engine.door import Rows, pool_rows, selector
from jaxal.selection.engine.picks import highest_by_lot, rankable
from jaxal.selection.spread.linkage import average_linkage
from jaxal.selection.spread.turns import take_in_order, turns
from jaxal.types import Selection


class _Options(NamedTuple):
    batch_size: int
    num_candidates: int
    num_clustered: int
    rows_per_cluster: float


@selector
def cluster_margin(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    scores: Array,
    oversample: float = 10.0,
    rows_per_cluster: float = 10.0,
    num_clustered: int = 4096,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks uncertain rows from clusters in turn, the smallest cluster first.

    The candidates are the `oversample K` available rows of the highest scores.
    Clusters, of average linkage in Euclidean distance, are ordered by how many
    candidates they hold, ascending; each in turn gives one of its candidates at random,
    and when the largest has given one, the smallest that has any left is next.

    The paper clusters the whole pool, once; that takes time and memory of order N^2.
    Here the `num_clustered` available rows of the highest scores are clustered, which
    is the whole of a pool no larger than that, in the features at hand. Candidates
    beyond them join the cluster of the nearest row that was clustered.

    Args:
      key: a typed key, consumed.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, unused: labelled rows are neither clustered nor avoided.
      batch_size: picks `K`, static.
      scores: `[N]`, higher is more uncertain: `margin(logits)` in the paper.
      oversample: candidates for each pick, at least 1, static. Reproductions of the
        paper take 1.25 to 10.
      rows_per_cluster: clusters are merged until they have at least so many rows on
        average, static; 10 is a choice made here.
      num_clustered: the most rows to cluster, static; their distances, four bytes
        times its square, are held.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked, with the scores as given; indices are `N` where
      fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or a number is out of its range.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import cluster_margin
      >>> x = jnp.array([[0.0], [0.1], [0.2], [9.0]])
      >>> key, free, scores = jax.random.key(0), jnp.ones(4, bool), jnp.ones(4)
      >>> picks = cluster_margin(
      ...     key, x, free, batch_size=1, scores=scores, rows_per_cluster=2.0
      ... )
      >>> picks.indices.tolist()
      [3]

    Reference:
      Citovsky et al., "Batch Active Learning at Scale", NeurIPS 2021.
      https://arxiv.org/abs/2107.14263
    """
    del is_labelled
    rows = pool_rows(embedding, is_available)
    if oversample < 1 or rows_per_cluster < 1 or num_clustered < 1:
        raise ValueError(
            f"oversample, rows_per_cluster and num_clustered are {oversample}, "
            f"{rows_per_cluster} and {num_clustered}, expected at least 1 each."
        )
    num_rows = rows.embedding.num_rows
    options = _Options(
        batch_size=batch_size,
        num_candidates=min(math.ceil(oversample * batch_size), num_rows),
        num_clustered=min(num_clustered, num_rows),
        rows_per_cluster=rows_per_cluster,
    )
    return _select(key, (rows, scores), options, mesh)


@partial(jax.jit, static_argnums=(2, 3))
def _select(
    key: Array, local: tuple[Rows, Array], options: _Options, mesh: Mesh | None
) -> Selection:
    most = max(options.num_candidates, options.num_clustered)

    def select(shard: Shard, key: Array, local: tuple[Rows, Array]) -> Selection:
        rows, scores = local
        values = rankable(scores, rows.is_available)
        _, seen = highest_by_lot(shard, values, lambda: row_lots(key, shard), most)
        num_available = shard.sum(jnp.sum(rows.is_available, dtype=jnp.int32))
        is_there = jnp.arange(most) < num_available
        block, found = shard.fetch((rows.embedding, scores), seen)
        groups = _clusters(block, is_there, options)
        candidates = slice(options.num_candidates)
        picks = _in_turn(
            key, groups[candidates], is_there[candidates], found[candidates], options
        )
        return picks._replace(indices=seen[jnp.minimum(picks.indices, most - 1)])

    return over_rows(select, key, local, mesh=mesh)


def _clusters(block: Embedding, is_there: Array, options: _Options) -> Array:
    """Returns the cluster of each row, of which the first few are clustered."""
    block = block.relative_to(block.origin(is_there))
    rows = block.take(jnp.arange(options.num_clustered))
    is_used = is_there[: options.num_clustered]
    distances = jnp.sqrt(squared_distances(rows, rows.sqnorm(), rows))
    distances = (distances + distances.T) / 2  # chains want them equal to the bit
    num_clusters = (jnp.sum(is_used) / options.rows_per_cluster).astype(jnp.int32)
    labels = average_linkage(distances, is_used, jnp.maximum(num_clusters, 1))
    if options.num_candidates <= options.num_clustered:
        return labels

    def join(some: Embedding) -> Array:
        found = squared_distances(some, some.sqnorm(), rows)
        return labels[jnp.argmin(jnp.where(is_used[None], found, jnp.inf), axis=-1)]

    # Those clustered keep their cluster, whatever rows may be as near.
    return map_chunks(block, join).at[: options.num_clustered].set(labels)


def _in_turn(
    key: Array, groups: Array, is_there: Array, scores: Array, options: _Options
) -> Selection:
    """Picks among candidates, the best first, by the turns of their clusters."""
    # Missing candidates share a group of their own.
    groups = jnp.where(is_there, groups, options.num_clustered)
    sizes = jnp.zeros(options.num_clustered + 1, jnp.int32).at[groups].add(1)
    turn = turns(groups, jax.random.uniform(key, groups.shape))
    # Clusters of one size in an order of the key's, the same at every turn.
    lots = row_lots(key, Shard(None, 1, sizes.size))
    keys = (turn, sizes[groups], lots[groups])
    return take_in_order(keys, is_there, scores, options.batch_size)


register(
    "cluster_margin",
    composed(cluster_margin, scores=read(margin, logits), is_labelled=None),
    family="uncertainty, clusters",
    cost="O(N C + M^2 D), M = 4096 rows clustered, + 10 K M D where 10 K > M",
    budget="many labels",
)
