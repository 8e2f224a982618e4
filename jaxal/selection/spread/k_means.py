"""k-means in chunks of rows: Lloyd's steps, or steps on small draws of rows."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal import linalg
from jaxal.embeddings import Dense, Embedding, as_embedding
from jaxal.embeddings.compositions import written_out
from jaxal.pools.mesh import REPLICATED, SPREAD, Shard, over_rows
from jaxal.selection.engine.chance import draw_rows, row_lots
from jaxal.selection.engine.distances import (
    Space,
    make_space,
    squared_distances,
    stored,
)
from jaxal.selection.engine.door import selector, within
from jaxal.selection.engine.picks import highest_by_lot
from jaxal.selection.spread.assigning import Assigned, assign_rows, coordinates, to_live
from jaxal.selection.spread.k_means_plus_plus import k_means_plus_plus


class Clustering(NamedTuple):
    """Clusters of the rows of a pool."""

    centroids: Array  # [M, D]
    assignment: Array  # [N] int32 nearest centroid, -1 for rows that were not used
    distances: Array  # [N] squared distance to it, 0 for rows that were not used
    inertia: Array  # [] sum of the (weighted) distances
    num_steps: Array  # [] steps taken


class _Rows(NamedTuple):
    embedding: Embedding  # [N]
    weights: Array  # [N], zero for rows that are not used
    is_used: Array  # [N]


class _Options(NamedTuple):
    num_clusters: int
    num_steps: int
    tolerance: float
    minibatch_size: int | None


@selector
def k_means(
    key: Array,
    embedding: Array | Dense,
    is_used: Array | None = None,
    *,
    num_clusters: int,
    num_live: Array | None = None,
    weights: Array | None = None,
    num_steps: int = 100,
    tolerance: float = 1e-4,
    minibatch_size: int | None = None,
    mesh: Mesh | None = None,
) -> Clustering:
    """Clusters rows around means, from a k-means++ start.

    Lloyd's step assigns every row to its nearest centroid and moves each centroid to
    the (weighted) mean of its rows, which never increases
    `inertia = sum_n w_n |x_n - c(n)|^2`. A centroid without rows moves to the row
    farthest from its own. With `minibatch_size`, a step sees only rows drawn in
    proportion to their weights, and moves a centroid by its mean over all it has seen.

    Args:
      key: a typed key, consumed.
      embedding: `[N, D]`, or `Dense`.
      is_used: `[N]` bool, rows to cluster; all by default.
      num_clusters: clusters `M`, static. Where there are fewer different rows, some
        stay empty, on top of others.
      num_live: clusters that may have rows, `[]` and not static, for a number that
        changes from round to round; the rest stay empty. All by default.
      weights: `[N]`, not negative.
      num_steps: the most steps to take, static.
      tolerance: steps end when one lowers the inertia by less than this part of it,
        static. Steps on draws do not end early.
      minibatch_size: rows of one draw, static; None for Lloyd's steps on all rows.
      mesh: where the rows live, by default as the embedding is sharded; if it does not
        divide them they are copied, so pad them first, as `make_pool` does.

    Returns:
      A `Clustering`.

    Raises:
      ValueError: a shape is wrong, or `num_clusters` is not in `1 .. N`.
      TypeError: a dtype is wrong, or rows have no coordinates written out.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import k_means
      >>> x = jnp.array([[0.0], [1.0], [8.0], [9.0]])
      >>> clusters = k_means(jax.random.key(0), x, num_clusters=2)
      >>> sorted(clusters.centroids[:, 0].tolist()), float(clusters.inertia)
      ([0.5, 8.5], 1.0)

    Reference:
      Least squares quantization in PCM, https://doi.org/10.1109/TIT.1982.1056489;
      Web-scale k-means clustering, https://doi.org/10.1145/1772690.1772862
    """
    rows = _checked(embedding, is_used, weights, num_clusters)
    key_seeds, key_steps = jax.random.split(key)
    seeds = within(k_means_plus_plus)(
        key_seeds,
        rows.embedding,
        rows.is_used,
        batch_size=num_clusters,
        weights=rows.weights,
        mesh=mesh,
    )
    options = _Options(num_clusters, num_steps, tolerance, minibatch_size)
    is_live = None if num_live is None else jnp.arange(num_clusters) < num_live
    is_seed = seeds.is_valid if is_live is None else seeds.is_valid & is_live
    return _cluster(key_steps, rows, seeds.indices, is_seed, options, mesh, is_live)


@partial(jax.jit, static_argnums=(4, 5))
def _cluster(
    key: Array,
    rows: _Rows,
    seeds: Array,
    is_seed: Array,
    options: _Options,
    mesh: Mesh | None,
    is_live: Array | None = None,
) -> Clustering:
    def run(shard: Shard, shared: tuple, rows: _Rows) -> Clustering:
        key, seeds, is_live = shared
        space = make_space(shard, rows.embedding, rows.is_used)
        first = shard.fetch(rows.embedding, seeds).relative_to(space.origin)
        first = coordinates(first)
        if options.minibatch_size is None:
            centroids, steps = _lloyd(key, shard, space, rows, first, is_live, options)
        else:
            steps, size = jnp.int32(options.num_steps), options.minibatch_size
            centroids = _on_draws(key, shard, space, rows, first, is_live, steps, size)
        found = assign_rows(shard, space, rows.weights, centroids, is_live)
        return Clustering(
            centroids=centroids + space.origin[None],
            assignment=jnp.where(rows.is_used, found.assignment, -1),
            distances=jnp.where(rows.is_used, found.distances, 0),
            inertia=found.inertia,
            num_steps=steps,
        )

    # A seed that could not be had is put on top of the first, and stays empty.
    seeds = jnp.where(is_seed, seeds, seeds[0])
    specs = Clustering(REPLICATED, SPREAD, SPREAD, REPLICATED, REPLICATED)
    return over_rows(run, (key, seeds, is_live), rows, mesh=mesh, out_specs=specs)


def _lloyd(
    key: Array,
    shard: Shard,
    space: Space,
    rows: _Rows,
    centroids: Array,
    is_live: Array | None,
    options: _Options,
) -> tuple[Array, Array]:
    lots = row_lots(key, shard)

    def is_open(carry: tuple) -> Array:
        _, _, step, before, now = carry
        is_better = before - now > options.tolerance * now
        return (step < options.num_steps) & ((step == 0) | is_better)

    def step(carry: tuple) -> tuple:
        embedding, centroids, num, _, before = carry
        now = space._replace(embedding=stored(embedding))
        found = assign_rows(shard, now, rows.weights, centroids, is_live)
        mass = found.mass[:, None]
        means = found.sums / jnp.where(mass > 0, mass, 1)
        is_empty = found.mass <= 0
        is_empty = is_empty if is_live is None else is_empty & is_live
        moved = lax.cond(
            is_empty.any(),
            lambda: jnp.where(
                mass > 0, means, _farthest(shard, now, rows, lots, found)
            ),
            lambda: means,
        )
        return now.embedding, moved, num + 1, before, found.inertia

    infinite = jnp.full((), jnp.inf, space.norms.dtype)
    start = (space.embedding, centroids, jnp.int32(0), infinite, infinite)
    _, centroids, num_steps, _, _ = lax.while_loop(is_open, step, start)
    return centroids, num_steps


def _farthest(
    shard: Shard, space: Space, rows: _Rows, lots: Array, found: Assigned
) -> Array:
    """Returns where centroids without rows move: to rows far from their own."""
    num_clusters = found.mass.size
    apart = rows.weights * found.distances
    _, far = highest_by_lot(shard, apart, lambda: lots, num_clusters)
    # The first empty cluster gets the farthest row, the next one the next.
    turn = jnp.cumsum(found.mass <= 0) - 1
    block = shard.fetch(space.embedding, far[jnp.maximum(turn, 0)])
    return coordinates(block.relative_to(space.origin))


def _on_draws(
    key: Array,
    shard: Shard,
    space: Space,
    rows: _Rows,
    centroids: Array,
    is_live: Array | None,
    num_steps: Array,
    size: int,
) -> Array:
    """Moves centroids by draws of rows, each by its mean over all it has seen."""
    num_clusters = centroids.shape[0]

    def step(index: Array, carry: tuple) -> tuple:
        embedding, centroids, seen = carry
        embedding = stored(embedding)
        key_step = jax.random.fold_in(key, index)
        uniform = jax.random.uniform(key_step, (3, size), centroids.dtype)
        drawn = draw_rows(uniform, shard, rows.weights)
        block = shard.fetch(embedding, drawn).relative_to(space.origin)
        distances = squared_distances(block, block.sqnorm(), Dense(centroids))
        nearest = jnp.argmin(to_live(distances, is_live), axis=-1)
        members = jax.nn.one_hot(nearest, num_clusters, dtype=centroids.dtype)
        sums = linalg.product(members.T, coordinates(block))
        new = jnp.sum(members, axis=0)
        seen = seen + new
        shift = sums - new[:, None] * centroids
        return embedding, centroids + shift / jnp.maximum(seen, 1)[:, None], seen

    start = (space.embedding, centroids, jnp.zeros(num_clusters, centroids.dtype))
    return lax.fori_loop(0, num_steps, step, start)[1]


def _checked(
    embedding: Array | Dense,
    is_used: Array | None,
    weights: Array | None,
    num_clusters: int,
) -> _Rows:
    rows = as_embedding(embedding)
    written_out(rows, "means need rows written out")
    if not 1 <= num_clusters <= rows.num_rows:
        raise ValueError(
            f"num_clusters is {num_clusters}, expected 1 to {rows.num_rows}, the "
            "number of rows. Ask for fewer clusters."
        )
    assert is_used is not None  # the door has seen to it
    weights = jnp.ones(1) if weights is None else weights
    weights = weights.astype(rows.dtype)
    return _Rows(rows, jnp.where(is_used, weights, 0), is_used)
