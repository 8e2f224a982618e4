"""ActiveFT: points on the sphere that are moved until they stand for the pool."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal import linalg
from jaxal.embeddings import Dense, as_embedding
from jaxal.embeddings.base import unit_rows
from jaxal.embeddings.compositions import written_out
from jaxal.pools.mesh import Shard, over_rows
from jaxal.readings import composed
from jaxal.registry import register
from jaxal.selection.engine.chance import row_gumbel
from jaxal.selection.engine.distances import make_space
from jaxal.selection.engine.door import Rows, selector
from jaxal.selection.engine.picks import highest
from jaxal.selection.spread.assigning import assign_rows
from jaxal.selection.spread.representatives import represent
from jaxal.types import Selection

_DECAYS = (0.9, 0.999)  # of Adam's averages
_EPSILON = 1e-8


class _Options(NamedTuple):
    temperature: float | Array
    balance: float | Array
    learning_rate: float | Array


class _Moving(NamedTuple):
    points: Array  # [K, D]
    mean: Array  # [K, D] of gradients
    square: Array  # [K, D] of their squares


@selector
def active_ft(
    key: Array,
    embedding: Array | Dense,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    temperature: float | Array = 0.07,
    balance: float | Array = 1.0,
    learning_rate: float | Array = 1e-3,
    num_steps: int = 300,
    assign_every: int = 10,
    mesh: Mesh | None = None,
) -> Selection:
    r"""Picks the rows nearest to `K` points that match the pool and repel each other.

    With rows and points of unit norm and `c_i` the point nearest to row `i`, Adam
    minimises
    `-mean_i <f_i, t_{c_i}> / T + b mean_j log sum_{k != j} exp(<t_j, t_k> / T)`
    from a start at `K` rows drawn at random; then each point in turn takes its nearest
    row that is not yet taken. Labelled rows are not looked at: the method buys one
    batch, before there is any label.

    The nearest points are found anew every `assign_every` steps, in between the
    gradient is exact for those; 1 is the authors'. The cost is
    `O(num_steps (N K D / assign_every + K^2 D))`.

    Args:
      key: a typed key, consumed; used for the start and for ties.
      embedding: `[N, D]`, or `Dense`; rows are scaled to unit norm.
      is_available: `[N]` bool, rows to be matched, and picked.
      is_labelled: `[N]` bool, not used.
      batch_size: picks `K`, static.
      temperature: T. The default is the authors' for CIFAR, as are the next three.
      balance: b, how much points repel each other.
      learning_rate: of Adam.
      num_steps: of Adam, static.
      assign_every: steps between two passes over the pool, static.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order of points. A score is minus the squared distance to the
      point. Indices are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong, or rows have no coordinates written out.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import active_ft
      >>> angles = jnp.array([0.0, 0.1, 0.2, 1.5, 1.6, 1.7])
      >>> x = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
      >>> free = jnp.ones(6, bool)
      >>> picks = active_ft(jax.random.key(1), x, free, batch_size=2)
      >>> sorted((picks.indices // 3).tolist())  # one row of either bundle
      [0, 1]

    Reference:
      Xie et al., "Active Finetuning: Exploiting Annotation Budget in the
      Pretraining-Finetuning Paradigm", CVPR 2023. https://arxiv.org/abs/2303.14382
    """
    del is_labelled
    written = written_out(as_embedding(embedding), "points are moved in coordinates")
    rows = Rows(Dense(unit_rows(written.x)), is_available, None)
    options = _Options(temperature, balance, learning_rate)
    steps = (num_steps, assign_every)
    points = _move(key, options, rows, batch_size, steps, mesh)
    return represent(key, rows.embedding, is_available, points, mesh)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _move(
    key: Array,
    options: _Options,
    rows: Rows,
    batch_size: int,
    steps: tuple[int, int],
    mesh: Mesh | None,
) -> Array:
    """Returns where the points `[K, D]` end."""
    num_steps, assign_every = steps

    def run(shard: Shard, shared: tuple[Array, _Options], rows: Rows) -> Array:
        key, options = shared
        is_used = rows.is_available
        space = make_space(shard, rows.embedding, is_used)
        weights = is_used.astype(space.norms.dtype)
        total = jnp.maximum(shard.sum(jnp.sum(weights)), 1)
        noise = jnp.where(is_used, row_gumbel(key, shard), -jnp.inf)
        _, first = highest(shard, noise, batch_size)
        start = written_out(shard.fetch(rows.embedding, first), "as above").x

        def per_pass(index: Array, moving: _Moving) -> _Moving:
            points = unit_rows(moving.points) - space.origin[None]
            found = assign_rows(shard, space, weights, points)
            # Seen from the origin; the sum of rows themselves is what pulls.
            pull = found.sums + found.mass[:, None] * space.origin[None]
            done = index * assign_every
            count = jnp.minimum(assign_every, num_steps - done)
            return _steps(moving, pull / total, done, count, options)

        moving = _Moving(start, jnp.zeros_like(start), jnp.zeros_like(start))
        passes = -(-num_steps // assign_every)
        return unit_rows(lax.fori_loop(0, passes, per_pass, moving).points)

    return over_rows(run, (key, options), rows, mesh=mesh)


def _steps(
    moving: _Moving, pull: Array, done: Array, count: Array, options: _Options
) -> _Moving:
    """Takes `count` steps of Adam, the nearest points of rows staying the same."""
    slope = jax.grad(lambda points: _loss(points, pull, options))

    def step(index: Array, moving: _Moving) -> _Moving:
        gradient = slope(moving.points)
        time = (done + index + 1).astype(gradient.dtype)
        mean = _DECAYS[0] * moving.mean + (1 - _DECAYS[0]) * gradient
        square = _DECAYS[1] * moving.square + (1 - _DECAYS[1]) * jnp.square(gradient)
        size = jnp.sqrt(square / (1 - _DECAYS[1] ** time)) + _EPSILON
        move = options.learning_rate * mean / (1 - _DECAYS[0] ** time) / size
        return _Moving(moving.points - move, mean, square)

    return lax.fori_loop(0, count, step, moving)


def _loss(points: Array, pull: Array, options: _Options) -> Array:
    """The loss, given the sum of each point's rows over the number of all, `[K, D]`."""
    squares = jnp.sum(jnp.square(points), axis=-1, keepdims=True)
    points = points / jnp.sqrt(jnp.where(squares > 0, squares, 1))
    attraction = jnp.sum(points * pull) / options.temperature
    if points.shape[0] == 1:  # nothing to repel
        return -attraction
    products = linalg.product(points, points.T)
    is_self = jnp.eye(points.shape[0], dtype=bool)
    closeness = jnp.where(is_self, -jnp.inf, products / options.temperature)
    repulsion = jnp.mean(jax.nn.logsumexp(closeness, axis=-1))
    return options.balance * repulsion - attraction


register(
    "active_ft",
    composed(active_ft, is_labelled=None),
    small={"num_steps": 20},
    family="coverage",
    cost="O(30 K N D + 300 K² D)",
    budget="few labels",
)
