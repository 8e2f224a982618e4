"""Facility location, and how much of it a query or a private set leaves."""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard, over_rows
from jaxal.readings import composed
from jaxal.registry import register
from jaxal.selection.cover.max_herding import NUM_TARGETS
from jaxal.selection.cover.sets import Sets, Some, check_sets, over_set, seen_sets
from jaxal.selection.engine.by_targets import (
    Targets,
    choose_targets,
    greedy_coverage,
    reached,
)
from jaxal.selection.engine.door import Rows, pool_rows, selector
from jaxal.selection.engine.kernels import Kernel, KernelName, check_kernel, kernel_rows
from jaxal.types import Selection


class _Options(NamedTuple):
    batch_size: int
    kernel: KernelName
    covers: Literal["query", "pool"]
    num_targets: int | None


class _Numbers(NamedTuple):
    eta: Array
    nu: Array
    bandwidth: Array


@selector
def facility_location(
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
    covers: Literal["query", "pool"] = "query",
    eta: float | Array = 1.0,
    nu: float | Array = 1.0,
    kernel: KernelName = "cosine",
    bandwidth: float | Array = 1.0,
    num_targets: int | None = NUM_TARGETS,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks rows by the greedy maximum of facility location, or what sets leave of it.

    With `A` the picks and the labelled rows, `V` the available and labelled rows, `Q`
    the query and `P` the private set, and a maximum over nothing being 0:

    * neither set: `f(A) = sum_{n in V} max_{a in A} k(n, a)`;
    * a private set (FLCG): `sum_{n in V} max(max_A k(n, a) - nu max_P k(n, p), 0)`;
    * a query covering "query" (FLQMI): `sum_{q in Q} max_A k(q, a)
      + eta sum_{a in A} max_Q k(a, q)`;
    * a query covering "pool" (FLVMI): `sum_{n in V} min(max_A k, eta max_Q k)`, and
      less `nu max_P k` where there is a private set as well.

    Sums over `V` are means, estimated on `num_targets` rows where there are more, as
    for `max_herding`; picks are exact in the same way. Ties are drawn with the key.

    Args:
      key: a typed key, consumed; used for the targets, ties and filling up.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows in `A` from the start; None for no such rows.
      batch_size: picks `K`, static.
      query: `[M, D]` or `M` rows of the same embedding that picks should be like.
      is_query: `[M]` bool, which of them are there; all by default.
      private: as `query`, rows that picks should be unlike.
      is_private: as `is_query`.
      covers: what a query's mutual information covers, static.
      eta: how much the query counts for; the default is that of the authors' code.
      nu: how hard private rows are avoided.
      kernel: "cosine", one plus the cosine, halved, as in the authors' code where there
        is a query or a private set, and a choice made here where there is none, for
        which it has the cosine; "rbf" on rows of unit length; or "linear", for
        features that are not negative.
      bandwidth: of "rbf".
      num_targets: rows of `V` the sums are taken over, static; None for all.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked; a score is the gain. When nothing is left to
      gain, rows are taken at random, with score 0. Indices are `N` where fewer than
      `K` rows were available.

    Raises:
      ValueError: a shape or a name is wrong, a query covering "query" meets a private
        set, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong, or a set is of another kind than the embedding.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import facility_location
      >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.8, 0.2]])
      >>> key, free = jax.random.key(0), jnp.ones(4, bool)
      >>> facility_location(key, x, free, batch_size=2).indices.tolist()
      [3, 2]
      >>> wanted = jnp.array([[0.0, 2.0]])
      >>> picks = facility_location(key, x, free, batch_size=1, query=wanted)
      >>> picks.indices.tolist()
      [2]

    Reference:
      Kothawade et al., "SIMILAR: Submodular Information Measures Based Active Learning
      In Realistic Scenarios", NeurIPS 2021. https://arxiv.org/abs/2107.00717
    """
    rows = pool_rows(embedding, is_available, is_labelled)
    sets = check_sets(rows.embedding, query, is_query, private, is_private)
    check_kernel(kernel, bandwidth)
    if covers not in ("query", "pool"):
        raise ValueError(f"covers is {covers!r}, expected 'query' or 'pool'.")
    if covers == "query" and query is not None and private is not None:
        raise ValueError(
            "query and private were both passed with covers='query', which knows no "
            "private set. Pass covers='pool'."
        )
    options = _Options(batch_size, kernel, covers, num_targets)
    numbers = _Numbers(*map(jnp.float32, (eta, nu, bandwidth)))
    return _select(key, rows, sets, numbers, options, mesh)


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
        key_targets, key_fill = jax.random.split(key)
        seen = kernel_rows(rows.embedding, options.kernel, True)
        sets = seen_sets(sets, options.kernel, True)
        kernel = Kernel(numbers.bandwidth, options.kernel)
        worth = None
        if sets.query is not None and options.covers == "query":
            targets = _query_targets(sets.query)
            worth = numbers.eta * _similarity(kernel, seen, sets.query)
        else:
            some, _, is_there = choose_targets(
                key_targets, shard, seen, rows.is_used, options.num_targets
            )
            targets = _pool_targets(kernel, some, is_there, sets, numbers)
        if rows.is_labelled is not None:
            best = reached(shard, kernel, targets.rows, seen, rows.is_labelled)
            best = jnp.maximum(targets.best, jnp.minimum(best, targets.cap))
            targets = targets._replace(best=best)
        free, num = rows.is_available, options.batch_size
        return greedy_coverage(key_fill, shard, kernel, seen, free, targets, worth, num)

    return over_rows(select, (key, sets, numbers), rows, mesh=mesh)


def _query_targets(query: Some) -> Targets:
    weights = query.is_there.astype(query.rows.dtype)
    best = jnp.zeros_like(weights)
    return Targets(query.rows, weights, best, jnp.full_like(best, jnp.inf))


def _pool_targets(
    kernel: Kernel, some: Embedding, is_there: Array, sets: Sets, numbers: _Numbers
) -> Targets:
    weights = is_there.astype(some.dtype) / jnp.maximum(jnp.sum(is_there), 1)
    best, cap = jnp.zeros_like(weights), jnp.full_like(weights, jnp.inf)
    if sets.private is not None:
        best = numbers.nu * _similarity(kernel, some, sets.private)
    if sets.query is not None:
        cap = numbers.eta * _similarity(kernel, some, sets.query)
    return Targets(some, weights, best, cap)


def _similarity(kernel: Kernel, rows: Embedding, some: Some) -> Array:
    """Returns the similarity of each row to the nearest of a set, `[N]`, or 0."""
    return jnp.maximum(over_set(jnp.max, kernel, rows, some), 0)


register(
    "facility_location",
    composed(facility_location, "gradients_with_bias"),
    is_deterministic=True,
    family="coverage, submodular",
    cost="O(T (N + K m) (C + D)), T targets",
    budget="few labels",
)
