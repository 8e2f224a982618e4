"""ProbCover: balls of one radius that hold as much of the pool as they can."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.embeddings import Dense, Embedding, as_embedding
from jaxal.pools.mesh import Shard, over_rows
from jaxal.readings import Reading, by_selector, drawn, is_used, logits, read, reading
from jaxal.registry import register
from jaxal.selection.engine.by_balls import Cover, greedy_cover, is_within_any
from jaxal.selection.engine.distances import Space, make_space
from jaxal.selection.engine.door import Rows, pool_rows, selector, within
from jaxal.selection.engine.pairs import distances_from
from jaxal.selection.engine.picks import random_rows
from jaxal.selection.spread.k_means import k_means
from jaxal.types import Selection, Strategy

_QUERIES = 64  # rows whose distances to all others are held at a time


class _Grouped(NamedTuple):
    embedding: Embedding  # [N]
    is_used: Array  # [N]
    groups: Array  # [N]


@selector
def prob_cover(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    radius: float | Array,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks the row whose ball holds most uncovered rows, again and again.

    `i_k = argmax_n #{m : |x_n - x_m| <= radius, m uncovered}` over the available rows;
    the balls of labelled rows and of earlier picks cover. Ties are drawn with the
    key. The greedy algorithm for max coverage, within `1 - 1/e` of the best, and exact.

    Args:
      key: a typed key, consumed; used for ties, and when nothing is left to cover.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked, and count.
      is_labelled: `[N]` bool, rows that cover already; None for no such rows.
      batch_size: picks `K`, static.
      radius: of the balls, Euclidean; `purity_radius` estimates it.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked. A score is the number of rows newly covered. When
      nothing is left to cover, rows are taken at random, with score 0. Indices are `N`
      where fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import prob_cover
      >>> x = jnp.array([0.0, 1.0, 1.5, 2.0, 8.0, 9.0, 9.9, 20.0])[:, None]
      >>> key, free = jax.random.key(0), jnp.ones(8, bool)
      >>> picks = prob_cover(key, x, free, batch_size=3, radius=1.0)
      >>> picks.indices.tolist(), picks.scores.tolist()
      ([1, 5, 7], [4.0, 3.0, 1.0])

    Reference:
      Yehuda et al., "Active Learning Through a Covering Lens", NeurIPS 2022.
      https://arxiv.org/abs/2205.11320
    """
    rows = pool_rows(embedding, is_available, is_labelled)
    return _prob_cover(key, radius, rows, batch_size, mesh)


@selector
def purity_radius(
    key: Array,
    embedding: Array | Dense,
    is_used: Array | None = None,
    *,
    num_classes: int,
    purity: float = 0.95,
    num_queries: int = 4096,
    mesh: Mesh | None = None,
) -> Array:
    """Returns the largest radius at which balls hold one class, as far as can be told.

    Rows are clustered into as many clusters as there are classes; a ball is pure where
    it holds rows of one cluster only, which is up to the nearest row of another. The
    radius is the largest at which at least `purity` of all balls are pure.

    Args:
      key: a typed key, consumed.
      embedding: `[N, D]`, or `Dense`.
      is_used: `[N]` bool, rows to look at; all by default.
      num_classes: `C`, static.
      purity: part of the balls that must be pure. The default is the paper's.
      num_queries: rows, drawn at random, whose balls are looked at, static; the paper
        looks at all.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `[]` Euclidean radius; 0 where all rows are one cluster.

    Raises:
      ValueError: a shape is wrong.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import purity_radius
      >>> x = jnp.array([[0.0], [1.0], [9.0], [10.0]])
      >>> round(float(purity_radius(jax.random.key(0), x, num_classes=2)), 3)
      8.0

    Reference:
      Yehuda et al., "Active Learning Through a Covering Lens", NeurIPS 2022.
      https://arxiv.org/abs/2205.11320
    """
    rows = as_embedding(embedding)
    num_rows = rows.num_rows
    assert is_used is not None  # the door has seen to it
    key_clusters, key_queries = jax.random.split(key)
    clusters = within(k_means)(
        key_clusters,
        embedding,
        is_used,
        num_clusters=min(num_classes, num_rows),
        mesh=mesh,
    )
    grouped = _Grouped(rows, is_used, clusters.assignment)
    num_queries = min(num_queries, num_rows)
    return _purity_radius(key_queries, grouped, purity, num_queries, mesh)


@partial(jax.jit, static_argnums=(3, 4))
def _prob_cover(
    key: Array, radius: float | Array, rows: Rows, batch_size: int, mesh: Mesh | None
) -> Selection:
    def run(shard: Shard, shared: tuple[Array, Array], rows: Rows) -> Selection:
        key, radius = shared
        space = make_space(shard, rows.embedding, rows.is_used)
        radii = jnp.full(shard.num_rows, radius, space.norms.dtype)
        is_covered = is_within_any(shard, space, rows.is_centre, radii)
        cover = Cover(
            square=jnp.square(radii[0]),
            is_available=rows.is_available,
            is_uncovered=rows.is_used & ~is_covered,
            merit=jnp.zeros_like(radii),
            worth=lambda degrees, largest, merit: degrees,
            is_relative=False,
        )
        return greedy_cover(key, shard, space, cover, batch_size)

    return over_rows(run, (key, radius), rows, mesh=mesh)


@partial(jax.jit, static_argnums=(3, 4))
def _purity_radius(
    key: Array,
    rows: _Grouped,
    purity: float | Array,
    num_queries: int,
    mesh: Mesh | None,
) -> Array:
    def run(shard: Shard, shared: tuple, rows: _Grouped) -> Array:
        key, purity = shared
        space = make_space(shard, rows.embedding, rows.is_used)
        queries = random_rows(key, shard, rows.is_used, num_queries)
        found = _distances_to_others(shard, space, rows, queries)
        num = jnp.minimum(shard.sum(jnp.sum(rows.is_used)), num_queries)
        return _largest_radius(found, num, purity)

    return over_rows(run, (key, purity), rows, mesh=mesh)


def _distances_to_others(
    shard: Shard, space: Space, rows: _Grouped, queries: Array
) -> Array:
    """Returns squared distances of `queries` to the nearest row of another group."""
    size = min(_QUERIES, queries.size)

    def per_block(index: Array, found: Array) -> Array:
        start = jnp.minimum(index * size, queries.size - size)
        some = lax.dynamic_slice_in_dim(queries, start, size)
        block, groups = shard.fetch((rows.embedding, rows.groups), some)
        between = distances_from(space, block.relative_to(space.origin))
        is_other = (rows.groups[None] != groups[:, None]) & rows.is_used[None]
        nearest = jnp.min(jnp.where(is_other, between, jnp.inf), axis=-1)
        nearest = jnp.min(shard.gather(nearest), axis=0)
        return lax.dynamic_update_slice_in_dim(found, nearest, start, 0)

    found = jnp.zeros(queries.size, space.norms.dtype)
    return lax.fori_loop(0, -(-queries.size // size), per_block, found)


def _largest_radius(squares: Array, num: Array, purity: Array) -> Array:
    """Returns the radius below `purity` of the first `num` distances."""
    is_query = jnp.arange(squares.size) < num
    # Largest first; rows that are none come last.
    ordered = -jnp.sort(jnp.where(is_query, -squares, jnp.inf))
    last = jnp.ceil(purity * num).astype(jnp.int32) - 1
    radius = jnp.sqrt(ordered[jnp.maximum(last, 0)])
    # Just below, for a ball holds what is at its radius.
    below = radius * (1 - 4 * np.finfo(radius.dtype).eps)
    return jnp.where(jnp.isfinite(radius), below, 0)


@register(
    "prob_cover",
    small={"radius": 0.5},
    family="coverage, dense rows first",
    cost="O(N² D)",
    budget="few labels",
)
def prob_cover_strategy(
    *,
    of: str = "unit_features",
    radius: float | None = None,
    num_classes: int | None = None,
    purity: float = 0.95,
) -> Strategy:
    """Returns ProbCover: rows whose balls hold as much of the pool as they can.

    Args:
      of: what balls are in; features of unit norm are the authors'.
      radius: of the balls; None for `purity_radius`, found anew each round.
      num_classes: what `purity_radius` is told; None for as many as there are logits.
      purity: part of the balls that must be pure; the paper's.

    Reference:
      Yehuda et al., "Active Learning Through a Covering Lens", NeurIPS 2022.
      https://arxiv.org/abs/2205.11320
    """
    found = pure_radius(of, num_classes, purity) if radius is None else radius
    return by_selector(prob_cover, of, radius=found)


def pure_radius(of: str, num_classes: int | None, purity: float) -> Reading:
    """Returns the reading of `purity_radius`, by default for as many classes as C."""
    rows = reading(of), is_used
    if num_classes is not None:
        return drawn(partial(_pure, purity, num_classes), *rows)
    return drawn(partial(_pure_by_columns, purity), read(_columns, logits), *rows)


def _columns(logits: Array) -> int:
    return logits.shape[-1]


def _pure(purity: float, num: int, key: Array, *rows: Any) -> Array:
    return purity_radius(key, *rows, num_classes=num, purity=purity)


def _pure_by_columns(purity: float, key: Array, num: int, *rows: Any) -> Array:
    return _pure(purity, num, key, *rows)
