"""Graph cut, and how much of it a query or a private set leaves."""

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
from jaxal.selection.cover.sets import (
    Sets,
    Some,
    check_sets,
    over_set,
    refuse_both,
    seen_sets,
)
from jaxal.selection.engine.by_columns import Pick, Rule, greedy_by_columns
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.distances import map_chunks
from jaxal.selection.engine.door import Rows, pool_rows, selector
from jaxal.selection.engine.kernel_sums import kernel_sums
from jaxal.selection.engine.kernels import Kernel, KernelName, check_kernel, kernel_rows
from jaxal.selection.engine.picks import first_valid, highest_by_lot, num_to_pick
from jaxal.types import Selection


class _Options(NamedTuple):
    batch_size: int
    kernel: KernelName


class _Numbers(NamedTuple):
    trade_off: Array
    nu: Array
    bandwidth: Array


@selector
def graph_cut(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    query: Array | Embedding | None = None,
    is_query: Array | None = None,
    private: Array | Embedding | None = None,
    is_private: Array | None = None,
    trade_off: float | Array = 1.0,
    nu: float | Array = 1.0,
    kernel: KernelName = "cosine",
    bandwidth: float | Array = 1.0,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks rows by the greedy maximum of graph cut, or what sets leave of it.

    With `A` the picks and the labelled rows, `V` the available and labelled rows, `Q`
    the query, `P` the private set and `t` the trade-off:

    * neither set: `f(A) = sum_{n in V, a in A} k(n, a) - t sum_{a, b in A} k(a, b)`;
    * a private set (GCCG): `f(A) - 2 t nu sum_{a in A, p in P} k(a, p)`;
    * a query (GCMI): `2 t sum_{a in A, q in Q} k(a, q)`, the rows most like the query,
      whatever they are to each other.

    Sums over `V` take one pass for "cosine" and "linear", which are inner products
    with the sum of all rows, and `N^2` products for "rbf". Ties are drawn with the key.

    Args:
      key: a typed key, consumed; used for ties.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows in `A` from the start; None for no such rows.
      batch_size: picks `K`, static.
      query: `[M, D]` or `M` rows of the same embedding that picks should be like.
      is_query: `[M]` bool, which of them are there; all by default.
      private: as `query`, rows that picks should be unlike.
      is_private: as `is_query`.
      trade_off: what likeness among picks costs. Up to 0.5, `f` never decreases.
      nu: how hard private rows are avoided.
      kernel: "cosine", one plus the cosine, halved, as in the authors' code where there
        is a query or a private set, and a choice made here where there is none, for
        which it has the cosine; "rbf" on rows of unit length; or "linear".
      bandwidth: of "rbf".
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked; a score is the gain, which may be negative.
      Indices are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape or a name is wrong, both sets are passed, or `batch_size` is
        not in `1 .. N`.
      TypeError: a dtype is wrong, or a set is of another kind than the embedding.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import graph_cut
      >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.8, 0.2]])
      >>> key, free = jax.random.key(0), jnp.ones(4, bool)
      >>> graph_cut(key, x, free, batch_size=2).indices.tolist()
      [3, 1]
      >>> wanted = jnp.array([[0.0, 2.0]])
      >>> graph_cut(key, x, free, batch_size=2, query=wanted).indices.tolist()
      [2, 3]

    Reference:
      Kothawade et al., "SIMILAR: Submodular Information Measures Based Active Learning
      In Realistic Scenarios", NeurIPS 2021. https://arxiv.org/abs/2107.00717
    """
    rows = pool_rows(embedding, is_available, is_labelled)
    sets = check_sets(rows.embedding, query, is_query, private, is_private)
    refuse_both(sets)
    check_kernel(kernel, bandwidth)
    numbers = _Numbers(*map(jnp.float32, (trade_off, nu, bandwidth)))
    return _select(key, rows, sets, numbers, _Options(batch_size, kernel), mesh)


@partial(jax.jit, static_argnums=(4, 5))
def _select(
    key: Array,
    rows: Rows,
    sets: Sets,
    numbers: _Numbers,
    options: _Options,
    mesh: Mesh | None,
) -> Selection:
    def select(shard: Shard, shared: tuple, rows: Rows) -> Selection:
        key, sets, numbers = shared
        seen = kernel_rows(rows.embedding, options.kernel, True)
        sets = seen_sets(sets, options.kernel, True)
        kernel = Kernel(numbers.bandwidth, options.kernel)
        cost = 2 * numbers.trade_off
        if sets.query is not None:
            gains = cost * over_set(jnp.sum, kernel, seen, sets.query)
            return _highest(key, shard, gains, rows.is_available, options.batch_size)
        gains = _first_gains(shard, kernel, seen, rows, sets.private, numbers)
        rule = Rule(values=lambda gains: gains, update=partial(_update, cost))
        free, num = rows.is_available, options.batch_size
        return greedy_by_columns(key, shard, rule, kernel, seen, free, gains, num)

    return over_rows(select, (key, sets, numbers), rows, mesh=mesh)


def _highest(
    key: Array, shard: Shard, gains: Array, is_available: Array, batch_size: int
) -> Selection:
    """Returns the rows of the largest gains, which no pick changes."""
    values = jnp.where(is_available, gains, -jnp.inf)
    lots = partial(row_lots, key, shard)
    found, rows = highest_by_lot(shard, values, lots, batch_size)
    return first_valid(rows, found, num_to_pick(shard, is_available, batch_size))


def _update(cost: Array, shard: Shard, gains: Array, pick: Pick) -> Array:
    del shard
    return gains - cost * pick.columns


def _first_gains(
    shard: Shard,
    kernel: Kernel,
    seen: Embedding,
    rows: Rows,
    private: Some | None,
    numbers: _Numbers,
) -> Array:
    cost = 2 * numbers.trade_off
    gains = kernel_sums(shard, kernel, seen, rows.is_used)
    gains = gains - numbers.trade_off * map_chunks(seen, kernel.diagonal)
    if rows.is_labelled is not None:
        gains = gains - cost * kernel_sums(shard, kernel, seen, rows.is_labelled)
    if private is not None:
        gains = gains - cost * numbers.nu * over_set(jnp.sum, kernel, seen, private)
    return gains


register(
    "graph_cut",
    composed(graph_cut, "gradients_with_bias"),
    is_deterministic=True,
    family="coverage, submodular",
    cost="O(K N (C + D))",
    budget="few labels",
)
