"""Bandwidths of kernels, where they are to be estimated."""

import math

import jax.numpy as jnp
from jax import Array

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.distances import squared_distances
from jaxal.selection.engine.kernel_sums import over_ranked
from jaxal.selection.engine.kernels import Bandwidth, Kernel, KernelName

_SAMPLE = 256  # rows the median distance is taken from


def make_kernel(
    shard: Shard,
    name: KernelName,
    bandwidth: Bandwidth,
    rows: Embedding,
    is_used: Array,
    is_labelled: Array | None,
) -> Kernel:
    """Returns a kernel whose bandwidth is a number, estimated where it is a name."""
    if name != "rbf":
        return Kernel(jnp.ones(()), name)
    if not isinstance(bandwidth, str):
        return Kernel(jnp.asarray(bandwidth, jnp.float32), name)
    if bandwidth == "median":
        return Kernel(_median_distance(shard, rows, is_used), name)
    if is_labelled is None:
        return Kernel(jnp.ones(()), name)
    return Kernel(_nearest_labelled(shard, rows, is_labelled), name)


def _median_distance(shard: Shard, rows: Embedding, is_used: Array) -> Array:
    """Returns the median distance of different rows, 1 where there are none."""
    count = shard.sum(jnp.sum(is_used, dtype=jnp.int32))
    ranks = jnp.arange(_SAMPLE) * jnp.maximum(count // _SAMPLE, 1)
    sample = shard.fetch(rows, shard.ranked_rows(is_used, ranks))
    distances = squared_distances(sample, sample.sqnorm(), sample)
    is_there = ranks < count
    is_pair = is_there[:, None] & is_there[None] & (distances > 0)
    ordered = jnp.sort(jnp.where(is_pair, distances, jnp.inf).ravel())
    middle = ordered[jnp.maximum(jnp.sum(is_pair) - 1, 0) // 2]
    return jnp.sqrt(jnp.where(jnp.isfinite(middle), middle, 1))


def _nearest_labelled(shard: Shard, rows: Embedding, is_labelled: Array) -> Array:
    """Returns the least distance of different labelled rows, 1 for fewer than two."""

    def among(block: Embedding, _: Array, is_row: Array, least: Array) -> Array:
        def lower(other: Embedding, _: Array, is_other: Array, least: Array) -> Array:
            distances = squared_distances(block, block.sqnorm(), other)
            is_pair = is_row[:, None] & is_other[None] & (distances > 0)
            found = jnp.min(jnp.where(is_pair, distances, jnp.inf))
            return jnp.minimum(least, found)

        return over_ranked(shard, rows, is_labelled, lower, least)

    start = jnp.full((), math.inf, rows.take(jnp.zeros(1, int)).sqnorm().dtype)
    least = over_ranked(shard, rows, is_labelled, among, start)
    return jnp.sqrt(jnp.where(jnp.isfinite(least), least, 1))
