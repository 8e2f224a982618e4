"""Frank-Wolfe: a batch whose weighted sum approximates that of the pool."""

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
from jaxal.selection.engine.distances import map_chunks
from jaxal.selection.engine.door import Rows, pool_rows, selector
from jaxal.selection.engine.kernel_sums import kernel_sums
from jaxal.selection.engine.kernels import Kernel
from jaxal.types import Selection


class _Residual(NamedTuple):
    """Inner products, all divided by the sum `r` of the pool's norms."""

    norms: Array  # [L]
    whole: Array  # [L] with the sum of the pool
    part: Array  # [L] with the weighted sum of the picks
    part_sqnorm: Array  # of the weighted sum, divided by r^2
    part_whole: Array  # of the two sums, divided by r^2


@selector
def frank_wolfe(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks rows whose weighted sum approximates the sum of all available rows.

    With `u = sum_n x_n` and an approximation `v`, zero at first, a Frank-Wolfe step
    picks `argmax_n <x_n / |x_n|, u - v>` and moves `v` towards the vertex
    `p = x_n (sum_m |x_m|) / |x_n|` by `<p - v, u - v> / |p - v|^2`, the best step on
    that line. Rows picked are not picked again, as in the code of Holzmueller et al.;
    ties are drawn with the key.

    Args:
      key: a typed key, consumed; used for ties and for filling up.
      embedding: `[N, D]`, or an `Embedding` of `N` rows. In the paper, rows are random
        features of the log-posterior of a Bayesian model.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: unused: what is approximated is the sum of the available rows.
      batch_size: picks `K`, static.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked; a score is `<x_n / |x_n|, u - v> / sum_m |x_m|`
      at the time of picking, a cosine where norms are equal. Rows of zeros come last,
      at random, with score 0. Indices are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong, or the rows cannot be added up.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import frank_wolfe
      >>> x = jnp.array([[1.0, 0.0], [3.0, 3.0], [0.0, 1.0], [-9.0, 9.0]])
      >>> free = jnp.array([True, True, True, False])
      >>> frank_wolfe(jax.random.key(0), x, free, batch_size=1).indices.tolist()
      [1]

    Reference:
      Pinsler et al., "Bayesian Batch Active Learning as Sparse Subset Approximation",
      NeurIPS 2019. https://arxiv.org/abs/1908.02144
    """
    del is_labelled
    return _select(key, pool_rows(embedding, is_available), batch_size, mesh)


@partial(jax.jit, static_argnums=(2, 3))
def _select(key: Array, rows: Rows, batch_size: int, mesh: Mesh | None) -> Selection:
    def select(shard: Shard, key: Array, rows: Rows) -> Selection:
        embedding, free = rows.embedding, rows.is_available
        kernel = Kernel(jnp.ones(()), "linear")
        norms = jnp.sqrt(map_chunks(embedding, lambda some: some.sqnorm()))
        total = jnp.maximum(shard.sum(jnp.sum(jnp.where(free, norms, 0))), 1e-30)
        zero = jnp.zeros((), norms.dtype)
        residual = _Residual(
            norms=norms,
            whole=kernel_sums(shard, kernel, embedding, free) / total,
            part=jnp.zeros_like(norms),
            part_sqnorm=zero,
            part_whole=zero,
        )
        rule = Rule(values=_values, update=_update)
        return greedy_by_columns(
            key, shard, rule, kernel, embedding, free, residual, batch_size
        )

    return over_rows(select, key, rows, mesh=mesh)


def _values(residual: _Residual) -> Array:
    is_there = residual.norms > 0
    products = residual.whole - residual.part
    return jnp.where(
        is_there, products / jnp.where(is_there, residual.norms, 1), -jnp.inf
    )


def _update(shard: Shard, now: _Residual, pick: Pick) -> _Residual:
    """Moves the approximation towards the picked row, by the best step."""
    found = shard.fetch((now.norms, now.whole, now.part), pick.row[None])
    norm, whole, part = (leaf[0] for leaf in found)
    whole, part = whole / norm, part / norm
    gap = 1 - 2 * part + now.part_sqnorm
    ahead = whole - part + now.part_sqnorm - now.part_whole
    # The vertex is reached already: there is no line to step along.
    step = jnp.where(gap > 1e-12, ahead / jnp.where(gap > 1e-12, gap, 1), 0)
    stay = 1 - step
    column = pick.columns / norm
    return now._replace(
        part=stay * now.part + step * column,
        part_sqnorm=stay**2 * now.part_sqnorm + 2 * stay * step * part + step**2,
        part_whole=stay * now.part_whole + step * whole,
    )


register(
    "frank_wolfe",
    composed(frank_wolfe, "gradients"),
    is_deterministic=True,
    family="sparse approximation",
    cost="O(K N (C + D))",
    budget="many labels",
)
