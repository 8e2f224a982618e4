"""MaxHerding: rows whose kernels cover the pool, with or without weights."""

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
from jaxal.selection.engine.by_targets import (
    Targets,
    choose_targets,
    greedy_coverage,
    reached,
)
from jaxal.selection.engine.door import Rows, pool_rows, selector
from jaxal.selection.engine.kernel_sums import make_kernel
from jaxal.selection.engine.kernels import (
    Bandwidth,
    KernelName,
    check_kernel,
    kernel_rows,
)
from jaxal.types import Selection

NUM_TARGETS = 4096


class _Options(NamedTuple):
    batch_size: int
    kernel: KernelName
    bandwidth: Literal["median", "nearest_labelled"] | None  # None where it is a number
    is_normalized: bool
    num_targets: int | None


@selector
def max_herding(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    weights: Array | None = None,
    kernel: KernelName = "rbf",
    bandwidth: Bandwidth = 1.0,
    is_normalized: bool = True,
    num_targets: int | None = NUM_TARGETS,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks the row that raises the pool's generalised coverage most, again and again.

    `C(S) = mean_n w_n max(0, max_{s in S} k(x_n, x_s))` over the available and the
    labelled rows `n`, with the labelled rows in `S` from the start; ties are
    drawn with the key. The picks are exactly those of the sequential algorithm: gains
    only fall, so stale ones are upper bounds. With more rows than `num_targets` the
    mean is estimated on that many of them, drawn with the key; the first pass over the
    gains of all rows then takes `N T D` products in place of `N N D`.

    Args:
      key: a typed key, consumed; used for the targets, ties and filling up.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows in `S` already; None for no such rows.
      batch_size: picks `K`, static.
      weights: `[N]`, not negative, what covering a row is worth; 1 by default.
      kernel: "rbf", `exp(-|x - y|^2 / bandwidth^2)`; "cosine", one plus the cosine,
        halved; or "linear". The default, with its bandwidth, is the paper's.
      bandwidth: a number, "median" for the median distance of rows, or
        "nearest_labelled" for the least distance of two labelled rows. Either is 1
        where there are no two different rows.
      is_normalized: whether "rbf" sees rows scaled to unit length, as in the paper.
      num_targets: rows the mean is taken over, static; None for all. No row is left
        out where there are no more than that.
      mesh: where the rows live, by default as the embedding is sharded. Every device
        gets a copy of the targets.

    Returns:
      `Selection` in the order picked; a score is the gain in coverage. When nothing is
      left to gain, rows are taken at random, with score 0. Indices are `N` where fewer
      than `K` rows were available.

    Raises:
      ValueError: a shape or a name is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import max_herding
      >>> x = jnp.array([[0.0], [1.0], [1.1], [1.2], [5.0]])
      >>> key, free = jax.random.key(0), jnp.ones(5, bool)
      >>> picks = max_herding(key, x, free, batch_size=1, is_normalized=False)
      >>> picks.indices.tolist()
      [1]

    Reference:
      Bae, Noh and Sutherland, "Generalized Coverage for More Robust Low-Budget Active
      Learning", ECCV 2024. https://arxiv.org/abs/2407.12212
    """
    rows = pool_rows(embedding, is_available, is_labelled)
    check_kernel(kernel, bandwidth)
    named = bandwidth if isinstance(bandwidth, str) else None
    options = _Options(batch_size, kernel, named, is_normalized, num_targets)
    number = jnp.float32(1) if isinstance(bandwidth, str) else jnp.asarray(bandwidth)
    return _select(key, rows, weights, number, options, mesh)


@partial(jax.jit, static_argnums=(4, 5))
def _select(
    key: Array,
    rows: Rows,
    weights: Array | None,
    bandwidth: Array,
    options: _Options,
    mesh: Mesh | None,
) -> Selection:
    def select(shard: Shard, shared: tuple, local: tuple) -> Selection:
        (key, bandwidth), (rows, weights) = shared, local
        key_targets, key_fill = jax.random.split(key)
        is_used, labelled = rows.is_used, rows.is_labelled
        seen = kernel_rows(rows.embedding, options.kernel, options.is_normalized)
        width: Bandwidth = options.bandwidth or bandwidth
        kernel = make_kernel(shard, options.kernel, width, seen, is_used, labelled)
        some, chosen, is_there = choose_targets(
            key_targets, shard, seen, is_used, options.num_targets
        )
        worth = is_there.astype(some.dtype) / jnp.maximum(jnp.sum(is_there), 1)
        if weights is not None:
            worth = worth * shard.fetch(weights, chosen)
        best = jnp.zeros(chosen.size, some.dtype)
        if labelled is not None:
            best = reached(shard, kernel, some, seen, labelled)
        targets = Targets(some, worth, best, jnp.full_like(best, jnp.inf))
        picked = options.batch_size
        free = rows.is_available
        return greedy_coverage(
            key_fill, shard, kernel, seen, free, targets, None, picked
        )

    return over_rows(select, (key, bandwidth), (rows, weights), mesh=mesh)


register(
    "max_herding",
    composed(max_herding),
    is_deterministic=True,
    family="coverage",
    cost="O(T (N + K m) D), T targets",
    budget="few labels",
)
