"""Agglomerative clustering with average linkage, over as many rows as fit squared."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class Merges(NamedTuple):
    """The dendrogram, as the edges of a tree: the first `num` are of meaning."""

    left: Array  # [M] a row of one cluster
    right: Array  # [M] a row of the other
    height: Array  # [M] their average distance, inf where there is no merge
    num: Array


class _State(NamedTuple):
    distances: Array  # [M, M] between clusters, each in the place of one of its rows
    size: Array  # [M], 0 for places that were merged into others
    chain: Array  # [M] places, each the nearest to the one before
    length: Array
    merges: Merges


def average_linkage(distances: Array, is_used: Array, num_clusters: Array) -> Array:
    """Clusters rows by merging the two clusters of least average distance.

    `d(A, B) = 1 / (|A| |B|) sum_{a in A, b in B} d(a, b)`, down to `num_clusters`
    clusters. Average linkage is reducible, so chains of nearest neighbours find the
    same tree as looking for the least distance every time, in O(M^2).

    Args:
      distances: `[M, M]`, symmetric.
      is_used: `[M]` bool, rows to cluster.
      num_clusters: how many clusters to stop at.

    Returns:
      `[M]` int32, the first row of the row's cluster.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.selection.linkage import average_linkage
      >>> x = jnp.array([0.0, 9.0, 1.0, 10.0])
      >>> distances = jnp.abs(x[:, None] - x[None])
      >>> average_linkage(distances, jnp.ones(4, bool), 2).tolist()
      [0, 1, 0, 1]

    Reference:
      A general theory of classificatory sorting strategies,
      https://doi.org/10.1093/comjnl/9.4.373
    """
    merges = _dendrogram(distances, is_used)
    num_merges = jnp.sum(is_used, dtype=jnp.int32) - num_clusters
    # Stable: of merges at one height the earlier is the lower in the tree.
    order = jnp.argsort(merges.height, stable=True)

    def join(index: Array, labels: Array) -> Array:
        left = labels[merges.left[order[index]]]
        right = labels[merges.right[order[index]]]
        is_joined = (labels == left) | (labels == right)
        return jnp.where(is_joined, jnp.minimum(left, right), labels)

    labels = jnp.arange(is_used.size, dtype=jnp.int32)
    return lax.fori_loop(0, num_merges, join, labels)


def _dendrogram(distances: Array, is_used: Array) -> Merges:
    num_rows = is_used.size
    nowhere = jnp.zeros(num_rows, jnp.int32)
    is_apart = is_used[:, None] & is_used[None] & ~jnp.eye(num_rows, dtype=bool)
    heights = jnp.full(num_rows, jnp.inf, distances.dtype)
    state = _State(
        distances=jnp.where(is_apart, distances, jnp.inf),
        size=is_used.astype(distances.dtype),
        chain=nowhere,
        length=jnp.int32(0),
        merges=Merges(nowhere, nowhere, heights, jnp.int32(0)),
    )
    total = jnp.sum(is_used, dtype=jnp.int32) - 1
    return lax.while_loop(lambda state: state.merges.num < total, _merge, state).merges


def _merge(state: _State) -> _State:
    """Follows the chain until two clusters are nearest to each other; merges them."""
    chain, length = _extend(state)
    first, second = chain[length - 1], chain[length - 2]
    keep, drop = jnp.minimum(first, second), jnp.maximum(first, second)
    distances, size, merges = state.distances, state.size, state.merges
    share = size[keep] / (size[keep] + size[drop])
    row = share * distances[keep] + (1 - share) * distances[drop]
    index = jnp.arange(size.size)
    row = jnp.where((index == keep) | (index == drop), jnp.inf, row)
    merges = Merges(
        left=merges.left.at[merges.num].set(keep),
        right=merges.right.at[merges.num].set(drop),
        height=merges.height.at[merges.num].set(distances[first, second]),
        num=merges.num + 1,
    )
    distances = distances.at[keep].set(row).at[:, keep].set(row)
    size = size.at[keep].add(size[drop]).at[drop].set(0)
    return _State(distances, size, chain, length - 2, merges)


def _extend(state: _State) -> tuple[Array, Array]:
    """Returns the chain, grown until its last two clusters are each other's nearest."""

    def look(chain: Array, length: Array) -> tuple[Array, Array]:
        row = jnp.where(state.size > 0, state.distances[chain[length - 1]], jnp.inf)
        nearest = jnp.argmin(row).astype(jnp.int32)
        before = chain[jnp.maximum(length - 2, 0)]
        # Of several at the same distance the one before, or chains would go in rings.
        is_before = (length > 1) & (row[before] <= row[nearest])
        return nearest, is_before

    def step(carry: tuple[Array, Array, Array, Array]) -> tuple:
        chain, length, nearest, _ = carry
        chain = chain.at[length].set(nearest)
        return chain, length + 1, *look(chain, length + 1)

    is_empty = state.length == 0
    some = jnp.argmax(state.size > 0).astype(jnp.int32)
    chain = jnp.where(is_empty, state.chain.at[0].set(some), state.chain)
    length = jnp.where(is_empty, 1, state.length)
    start = (chain, length, *look(chain, length))
    chain, length, _, _ = lax.while_loop(lambda carry: ~carry[3], step, start)
    return chain, length
