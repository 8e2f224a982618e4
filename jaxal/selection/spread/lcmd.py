"""Largest cluster, maximum distance: the farthest row of the largest cluster."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard, over_rows
from jaxal.readings import composed
from jaxal.registry import register
from jaxal.selection.engine.by_columns import Pick, Rule, greedy_by_columns
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.distances import distances_of, make_space, map_chunks
from jaxal.selection.engine.door import Rows, pool_rows, selector
from jaxal.selection.engine.kernel_sums import map_chunks_last, over_ranked
from jaxal.selection.engine.kernels import Kernel
from jaxal.selection.engine.picks import least_equal
from jaxal.types import Selection


class _Clusters(NamedTuple):
    norms: Array  # [L] squared, as seen from amid the rows
    lengths: Array  # [L] squared norms as given: the first pick's
    is_counted: Array  # [L] rows that weigh
    nearest: Array  # [L] squared distance to the nearest centre
    centre: Array  # [L] row of the pool that is it
    has_centre: Array
    lots: Array  # [N] of the pool, by which clusters of one size are told apart


@selector
def lcmd(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks the farthest row of the largest cluster, again and again (LCMD).

    Every row belongs to the nearest of the centres: labelled rows and earlier picks.
    The size of a cluster is the sum of its available rows' squared distances from the
    centre; of the largest cluster, the row farthest from the centre is picked. Where
    there is no centre, the row of the largest norm is. Ties, of clusters and of rows,
    are drawn with the key.

    Args:
      key: a typed key, consumed; used for ties and for filling up.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows that are centres already ("TP-mode", the authors'
        default); None for no such rows.
      batch_size: picks `K`, static.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked; a score is the squared distance to the nearest
      centre at the time of picking, that of a first centre its squared norm. When only
      rows equal to centres are left, they are taken at random, with score 0. Indices
      are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import lcmd
      >>> x = jnp.array([[0.0], [2.0], [2.1], [2.2], [9.0], [11.0]])
      >>> is_labelled = jnp.array([True, False, False, False, True, False])
      >>> key, free = jax.random.key(0), ~is_labelled
      >>> lcmd(key, x, free, is_labelled, batch_size=1).indices.tolist()
      [3]

    Reference:
      Holzmueller et al., "A Framework and Benchmark for Deep Batch Active Learning for
      Regression", JMLR 2023. https://arxiv.org/abs/2203.09410
    """
    rows = pool_rows(embedding, is_available, is_labelled)
    return _select(key, rows, batch_size, mesh)


@partial(jax.jit, static_argnums=(2, 3))
def _select(key: Array, rows: Rows, batch_size: int, mesh: Mesh | None) -> Selection:
    def select(shard: Shard, key: Array, rows: Rows) -> Selection:
        space = make_space(shard, rows.embedding, rows.is_used)
        seen = rows.embedding.relative_to(space.origin)
        clusters = _Clusters(
            norms=space.norms,
            lengths=map_chunks(rows.embedding, lambda some: some.sqnorm()),
            is_counted=rows.is_available,
            nearest=jnp.full_like(space.norms, jnp.inf),
            centre=jnp.zeros(shard.num_rows, jnp.int32),
            has_centre=jnp.bool_(False),
            lots=shard.gather(row_lots(key, shard)).ravel(),
        )
        if rows.is_labelled is not None:
            clusters = _add_labelled(shard, seen, rows.is_labelled, clusters)
        rule = Rule(
            values=partial(_values, shard),
            update=partial(_update, seen.num_products),
            floor=0.0,
        )
        kernel = Kernel(jnp.ones(()), "linear")
        free = rows.is_available
        return greedy_by_columns(
            key, shard, rule, kernel, seen, free, clusters, batch_size
        )

    return over_rows(select, key, rows, mesh=mesh)


def _masses(shard: Shard, clusters: _Clusters) -> Array:
    """Returns the size of the cluster around each row of the pool, `[N]`."""
    sizes = jnp.zeros(shard.num_rows * shard.num_devices, clusters.norms.dtype)
    own = jnp.where(clusters.is_counted, clusters.nearest, 0)
    return shard.sum(sizes.at[clusters.centre].add(own))


def _values(shard: Shard, clusters: _Clusters) -> Array:
    sizes = _masses(shard, clusters)
    is_largest = sizes >= least_equal(jnp.max(sizes))
    largest = jnp.argmax(jnp.where(is_largest, clusters.lots, -1))
    farthest = jnp.where(clusters.centre == largest, clusters.nearest, -jnp.inf)
    return jnp.where(clusters.has_centre, farthest, clusters.lengths)


def _update(
    num_products: int, shard: Shard, clusters: _Clusters, pick: Pick
) -> _Clusters:
    length = shard.fetch(clusters.norms, pick.row[None])
    distances = distances_of(pick.columns, clusters.norms + length, num_products)
    here = jnp.arange(shard.num_rows) + shard.first_row == pick.row
    distances = jnp.where(here, 0, distances)
    return _closer(clusters, distances, pick.row)


def _closer(clusters: _Clusters, distances: Array, centre: Array) -> _Clusters:
    is_closer = distances < clusters.nearest
    return clusters._replace(
        nearest=jnp.where(is_closer, distances, clusters.nearest),
        centre=jnp.where(is_closer, centre, clusters.centre),
        has_centre=jnp.bool_(True),
    )


def _add_labelled(
    shard: Shard, rows: Embedding, is_labelled: Array, clusters: _Clusters
) -> _Clusters:
    """Makes labelled rows centres, a block at a time: there is no N x L array."""

    def add(
        block: Embedding, numbers: Array, is_there: Array, found: _Clusters
    ) -> _Clusters:
        lengths = block.sqnorm()

        def closest(chunk: Embedding) -> Array:
            scale = lengths[:, None] + chunk.sqnorm()[None]
            distances = distances_of(block.inner(chunk), scale, rows.num_products)
            distances = jnp.where(is_there[:, None], distances, jnp.inf)
            place = jnp.argmin(distances, axis=0)
            least = jnp.min(distances, axis=0)
            return jnp.stack([least, place.astype(least.dtype)])

        least, place = map_chunks_last(rows, 2, closest)
        return _closer(found, least, numbers[place.astype(int)])

    found = over_ranked(shard, rows, is_labelled, add, clusters)
    return found._replace(has_centre=shard.sum(jnp.sum(is_labelled)) > 0)


register(
    "lcmd",
    composed(lcmd, "gradients"),
    is_deterministic=True,
    family="clusters",
    cost="O((K + L) N (C + D))",
    budget="many labels",
)
