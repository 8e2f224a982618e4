"""The row nearest to the mean of each of K clusters."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.embeddings import Dense
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.door import selector, within
from jaxal.selection.spread.k_means import Clustering, k_means
from jaxal.selection.spread.turns import take_in_order, turns
from jaxal.types import Selection


@selector
def k_means_nearest(
    key: Array,
    embedding: Array | Dense,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    weights: Array | None = None,
    is_candidate: Array | None = None,
    fallback: Array | None = None,
    num_steps: int = 25,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks the row nearest to the mean of each of K clusters.

    k-means over the available candidates, `sum_n w_n |x_n - c(n)|^2`, into `K`
    clusters; each gives the row of its own that is nearest to its mean, so that no row
    is nearest twice. Where clusters are empty, for there are fewer different rows than
    `K`, the others give their second nearest row, then their third, closest first.
    Rows that are no candidates come after all that are.
    Distances count to three digits; rows that are as near by these are drawn.

    Args:
      key: a typed key, consumed.
      embedding: `[N, D]`, or `Dense`.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, unused: labelled rows are neither clustered nor avoided.
      batch_size: picks `K`, static.
      weights: `[N]`; what is not positive counts as zero. Where all candidates weigh
        nothing, they weigh the same.
      is_candidate: `[N]` bool, rows to cluster; all by default.
      fallback: `[N]`, what rows that are no candidates are taken by, the highest first;
        at random by default.
      num_steps: the most steps of k-means, static.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection`; scores are `1 / (1 + d)` with `d` the squared distance to the mean,
      and 0 for rows that are no candidates. Indices are `N` where fewer than `K` rows
      were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong, or rows have no coordinates written out.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import k_means_nearest
      >>> x = jnp.array([[0.0], [1.0], [5.0], [20.0], [21.0], [22.0]])
      >>> key, free = jax.random.key(0), jnp.ones(6, bool)
      >>> picks = k_means_nearest(key, x, free, batch_size=2)
      >>> sorted(picks.indices.tolist())
      [1, 4]

    Reference:
      Least squares quantization in PCM, https://doi.org/10.1109/TIT.1982.1056489
    """
    del is_labelled
    is_candidate = jnp.ones_like(is_available) if is_candidate is None else is_candidate
    key_clusters, key_fill = jax.random.split(key)
    is_used, weights = _used(is_available, is_candidate, weights)
    clusters = within(k_means)(
        key_clusters,
        embedding,
        is_used,
        num_clusters=batch_size,
        weights=weights,
        num_steps=num_steps,
        mesh=mesh,
    )
    return _nearest(key_fill, clusters, is_used, is_available, fallback, batch_size)


@jax.jit
def _used(
    is_available: Array, is_candidate: Array, weights: Array | None
) -> tuple[Array, Array]:
    is_used = is_available & is_candidate
    if weights is None:
        return is_used, jnp.ones(is_used.size)
    weights = weights.astype(jnp.promote_types(weights.dtype, jnp.float32))
    weights = jnp.where((weights > 0) & is_used, weights, 0)
    return is_used, jnp.where(jnp.any(weights > 0), weights, 1)


@partial(jax.jit, static_argnums=5)
def _nearest(
    key: Array,
    clusters: Clustering,
    is_used: Array,
    is_available: Array,
    fallback: Array | None,
    batch_size: int,
) -> Selection:
    # Two rows of a cluster are equally far from their mean: rounding must not decide
    # between them, for it is not the same on other devices or under vmap.
    distances = clusters.distances
    distances = lax.reduce_precision(distances, jnp.finfo(distances.dtype).nexp, 11)
    lots = row_lots(key, Shard(None, 1, is_used.size))
    turn = turns(clusters.assignment, distances, lots)
    noise = jax.random.uniform(key, is_used.shape)
    last = (noise,) if fallback is None else (-fallback, noise)
    # Of a row that is no candidate only what it is taken by counts, and the other way.
    inner = (jnp.where(is_used, turn, 0), jnp.where(is_used, distances, 0))
    outer = tuple(jnp.where(is_used, 0, value) for value in last)
    scores = jnp.where(is_used, 1 / (1 + distances), 0)
    keys = (~is_used, *inner, *outer, lots)
    return take_in_order(keys, is_available, scores, batch_size)
