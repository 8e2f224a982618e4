"""Agglomerative clustering with average linkage, over as many rows as fit squared."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxal import linalg


class Merges(NamedTuple):
    """The dendrogram, as the edges of a tree: the first `num` are of meaning."""

    left: Array  # [M] a row of one cluster
    right: Array  # [M] a row of the other
    height: Array  # [M] their average distance, inf where there is no merge
    num: Array


class _State(NamedTuple):
    # Between clusters, each in the place of one of its rows; of `[a, b]` and `[b, a]`
    # the one in the younger row counts. The last row is for what nobody reads.
    distances: Array  # [M + 1, M]
    age: Array  # [M] the step in which the row was written
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
      >>> from jaxal.selection.spread.linkage import average_linkage
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
        distances=jnp.pad(jnp.where(is_apart, distances, jnp.inf), ((0, 1), (0, 0))),
        age=nowhere,
        size=is_used.astype(distances.dtype),
        chain=nowhere,
        length=jnp.int32(0),
        merges=Merges(nowhere, nowhere, heights, jnp.int32(0)),
    )
    # A merge takes two places off the chain, which a step each had put there: at most
    # three steps a row. In one loop of known length distances are changed where they
    # are; a loop within a loop, or one that `vmap` masks, would copy them every time.
    return lax.fori_loop(0, 3 * num_rows, _step, state).merges


def _step(index: Array, state: _State) -> _State:
    """Makes the chain longer, or merges its last two clusters, or does nothing more."""
    num_rows, is_there = state.size.size, state.size > 0
    some = jnp.argmax(is_there).astype(jnp.int32)
    chain = state.chain.at[0].set(jnp.where(state.length == 0, some, state.chain[0]))
    length = jnp.maximum(state.length, 1)
    last, before = chain[length - 1], chain[jnp.maximum(length - 2, 0)]
    row = jnp.where(is_there, _between(state, last), jnp.inf)
    # Each a reduction of the row: nothing that is used below reads distances again.
    nearest, least = jnp.argmin(row).astype(jnp.int32), jnp.min(row)
    back = jnp.min(jnp.where(jnp.arange(num_rows) == before, row, jnp.inf))
    is_open = jnp.sum(is_there) > 1
    # Of several at the same distance the one before, or chains would go in rings.
    is_mutual = (length > 1) & (back <= least)
    is_merge, is_longer = is_open & is_mutual, is_open & ~is_mutual
    place = jnp.where(is_longer, length, num_rows)
    chain = chain.at[place].set(nearest, mode="drop")
    length = jnp.where(is_merge, length - 2, jnp.where(is_longer, length + 1, length))
    state = state._replace(chain=chain, length=length)
    return _merge(state, last, before, least, jnp.where(is_merge, index + 1, 0))


def _between(state: _State, place: Array) -> Array:
    """Returns the distances of one cluster to all others, `[M]`."""
    distances, age = state.distances, state.age
    column = distances[:-1, place]
    return jnp.where(age[place] >= age, distances[place], column)


def _merge(
    state: _State, last: Array, before: Array, height: Array, age: Array
) -> _State:
    """Puts one cluster in the place of two, if `age` is a step."""
    size, merges, is_merge = state.size, state.merges, age > 0
    num_rows = size.size
    keep, drop = jnp.minimum(last, before), jnp.maximum(last, before)
    share = size[keep] / (size[keep] + size[drop])
    both = jnp.stack([_between(state, keep), _between(state, drop)])
    row = linalg.product(jnp.stack([share, 1 - share]), both)
    index = jnp.arange(num_rows)
    row = jnp.where((index == keep) | (index == drop), jnp.inf, row)
    place = jnp.where(is_merge, merges.num, num_rows)
    merges = Merges(
        left=merges.left.at[place].set(keep, mode="drop"),
        right=merges.right.at[place].set(drop, mode="drop"),
        height=merges.height.at[place].set(height, mode="drop"),
        num=merges.num + is_merge,
    )
    moved = jnp.where(is_merge, size[drop], 0)
    place = jnp.where(is_merge, keep, num_rows)
    return state._replace(
        distances=state.distances.at[place].set(row),
        age=state.age.at[place].set(age, mode="drop"),
        size=size.at[keep].add(moved).at[drop].add(-moved),
        merges=merges,
    )
