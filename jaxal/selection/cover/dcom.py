"""DCoM: coverage while the model knows little, uncertainty once it covers the pool."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.embeddings import Embedding, as_embedding
from jaxal.pools.mesh import Shard, over_rows
from jaxal.readings import by_selector, labels, logits, read
from jaxal.registry import register
from jaxal.scores import margin
from jaxal.selection.cover.prob_cover import pure_radius
from jaxal.selection.engine.by_balls import (
    Cover,
    centre_block,
    greedy_cover,
    is_within_any,
)
from jaxal.selection.engine.distances import Space, make_space
from jaxal.selection.engine.door import selector
from jaxal.selection.engine.pairs import distances_from
from jaxal.types import Selection, Strategy

_BLOCK = 32  # labelled rows whose distances to all rows are held at a time


class _Rows(NamedTuple):
    embedding: Embedding  # [N]
    is_available: Array  # [N]
    is_labelled: Array  # [N]
    uncertainty: Array  # [N]
    labels: Array  # [N]
    predictions: Array  # [N]

    @property
    def is_used(self) -> Array:
        return self.is_available | self.is_labelled


class _Options(NamedTuple):
    initial_radius: float | Array
    max_radius: float | Array
    centre: float | Array
    steepness: float | Array


@selector
def dcom(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array,
    *,
    batch_size: int,
    uncertainty: Array,
    labels: Array,
    predictions: Array,
    initial_radius: float | Array = 0.75,
    max_radius: float | Array = 1.1,
    num_halvings: int = 6,
    centre: float | Array = 0.8,
    steepness: float | Array = 50.0,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks rows by coverage and by uncertainty, weighed by how much is covered.

    A labelled row covers a ball of its own radius, the largest found by bisection at
    which at least `0.2 c + 0.4` of the ball is predicted to be of its label, `c` being
    the part of the pool within `initial_radius` of labelled rows. With `P` the part
    that these balls cover, the competence is
    `S = (1 + exp(-k (1 - a))) / (1 + exp(-k (P - a)))`, and the next row is
    `argmax_n S u_n + (1 - S) d_n / max_m d_m`: `u` is the uncertainty, scaled to 0 .. 1
    over available rows, and `d_n` the number of uncovered rows in a ball of the mean
    radius, which then counts as covered. Ties are drawn with the key.

    The authors find a row's radius once, when it is labelled, scale `u` anew after each
    pick, and let `c` count what radii so far cover; a selector has no memory, so here
    radii are those of today's predictions.

    Args:
      key: a typed key, consumed; used for ties, and when no row left is worth anything.
      embedding: `[N, D]`, or an `Embedding` of `N` rows, of unit norm for the default
        radii to make sense.
      is_available: `[N]` bool, rows that may be picked, and count.
      is_labelled: `[N]` bool.
      batch_size: picks `K`, static.
      uncertainty: `[N]`, higher is more uncertain; the paper's is the margin.
      labels: `[N]` integers, read where labelled.
      predictions: `[N]` integers, the classes the model predicts.
      initial_radius: of the balls while nothing is labelled; the default is what the
        authors take for CIFAR-10, see `purity_radius`.
      max_radius: no ball is larger. The authors'.
      num_halvings: steps of bisection, static. By default radii are found to
        `1.1 / 2^6`; the authors stop below 0.05, which takes five.
      centre: a, the coverage at which uncertainty takes over. The authors'.
      steepness: k, how suddenly it does. The authors'.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked, with the weighted sum as the score. Rows that are
      worth nothing come last, at random, with score 0. Indices are `N` where fewer than
      `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import dcom
      >>> x = jnp.array([[0.0], [0.1], [0.2], [5.0], [5.1], [9.0]])
      >>> nobody, nothing = jnp.zeros(6, bool), jnp.zeros(6, int)
      >>> model = {"predictions": nothing, "uncertainty": jnp.arange(6.0)}
      >>> key = jax.random.key(0)
      >>> picks = dcom(key, x, ~nobody, nobody, batch_size=2, labels=nothing, **model)
      >>> (picks.indices // 3).tolist()  # nothing is labelled: coverage alone
      [0, 1]

    Reference:
      Mishal and Weinshall, "DCoM: Active Learning for All Learners", 2024.
      https://arxiv.org/abs/2407.01804
    """
    rows = _Rows(
        as_embedding(embedding),
        is_available,
        is_labelled,
        uncertainty,
        labels,
        predictions,
    )
    options = _Options(initial_radius, max_radius, centre, steepness)
    return _dcom(key, options, rows, batch_size, num_halvings, mesh)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _dcom(
    key: Array,
    options: _Options,
    rows: _Rows,
    batch_size: int,
    num_halvings: int,
    mesh: Mesh | None,
) -> Selection:
    def run(shard: Shard, shared: tuple[Array, _Options], rows: _Rows) -> Selection:
        key, options = shared
        is_used = rows.is_used
        space = make_space(shard, rows.embedding, is_used)
        radii = _radii(shard, space, rows, options, num_halvings)
        is_covered = is_within_any(shard, space, rows.is_labelled, radii) & is_used
        covered = _part(shard, is_covered, is_used)
        competence = _competence(covered, options)

        def worth(degrees: Array, largest: Array, merit: Array) -> Array:
            density = degrees / jnp.maximum(largest, 1)
            return competence * merit + (1 - competence) * density

        mean = shard.sum(jnp.sum(jnp.where(rows.is_labelled, radii, 0)))
        count = shard.sum(jnp.sum(rows.is_labelled))
        mean = jnp.where(count > 0, mean / count, options.initial_radius)
        cover = Cover(
            square=jnp.square(mean).astype(space.norms.dtype),
            is_available=rows.is_available,
            is_uncovered=is_used & ~is_covered,
            merit=_scaled(shard, rows),
            worth=worth,
            is_relative=True,
        )
        return greedy_cover(key, shard, space, cover, batch_size)

    return over_rows(run, (key, options), rows, mesh=mesh)


def _radii(
    shard: Shard, space: Space, rows: _Rows, options: _Options, num_halvings: int
) -> Array:
    """Returns `[L]` radii of labelled rows, the initial one elsewhere."""
    is_used = rows.is_used
    initial = jnp.full(shard.num_rows, options.initial_radius, space.norms.dtype)
    is_covered = is_within_any(shard, space, rows.is_labelled, initial) & is_used
    least = 0.2 * _part(shard, is_covered, is_used) + 0.4
    total = shard.sum(jnp.sum(rows.is_labelled, dtype=jnp.int32))
    size = min(_BLOCK, shard.num_devices * shard.num_rows)

    def per_block(index: Array, radii: Array) -> Array:
        block, _ = centre_block(shard, space, rows.is_labelled, initial, index, size)
        ranks = index * size + jnp.arange(size)
        chosen = shard.ranked_rows(rows.is_labelled, ranks)
        labels = shard.fetch(rows.labels, chosen)
        agrees = (rows.predictions[None] == labels[:, None]) & is_used[None]
        between = distances_from(space, block)
        between = jnp.where(is_used[None], between, jnp.inf)
        found = _bisect(shard, between, agrees, least, options.max_radius, num_halvings)
        chosen = jnp.where(ranks < total, chosen, -1)
        return shard.put(radii, chosen, found)

    return lax.fori_loop(0, -(-total // size), per_block, initial)


def _bisect(
    shard: Shard,
    between: Array,
    agrees: Array,
    least: Array,
    max_radius: float | Array,
    num_halvings: int,
) -> Array:
    """Returns `[M]` radii at which balls are about to be less pure than `least`."""

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) / 2
        is_within = between <= jnp.square(middle)[:, None]
        inside = shard.sum(jnp.sum(is_within, axis=-1))
        alike = shard.sum(jnp.sum(is_within & agrees, axis=-1))
        is_pure = alike >= least * jnp.maximum(inside, 1)
        return jnp.where(is_pure, middle, low), jnp.where(is_pure, high, middle)

    low = jnp.zeros(between.shape[0], between.dtype)
    high = jnp.full_like(low, max_radius)
    low, high = lax.fori_loop(0, num_halvings, halve, (low, high))
    return (low + high) / 2


def _competence(covered: Array, options: _Options) -> Array:
    steepness, centre = options.steepness, options.centre
    # As logarithms, for the exponential of a large number is infinite.
    now = jax.nn.log_sigmoid(jnp.asarray(steepness * (covered - centre)))
    return jnp.exp(now - jax.nn.log_sigmoid(jnp.asarray(steepness * (1 - centre))))


def _part(shard: Shard, is_one: Array, is_used: Array) -> Array:
    ones, all_rows = shard.sum((jnp.sum(is_one), jnp.sum(is_used)))
    return ones / jnp.maximum(all_rows, 1)


def _scaled(shard: Shard, rows: _Rows) -> Array:
    """Returns uncertainty as 0 .. 1 over available rows."""
    values, is_free = rows.uncertainty.astype(jnp.float32), rows.is_available
    lowest = -shard.max(jnp.max(jnp.where(is_free, -values, -jnp.inf)))
    highest = shard.max(jnp.max(jnp.where(is_free, values, -jnp.inf)))
    width = jnp.where(highest > lowest, highest - lowest, 1)
    return jnp.where(is_free, (values - lowest) / width, 0)


@register(
    "dcom",
    small={"initial_radius": 0.5},
    family="coverage, then uncertainty",
    cost="O(N² D)",
)
def dcom_strategy(
    *,
    of: str = "unit_features",
    initial_radius: float | None = None,
    purity: float = 0.95,
    max_radius: float = 1.1,
    centre: float = 0.8,
    steepness: float = 50.0,
) -> Strategy:
    """Returns DCoM: coverage at first, the margin once labelled rows cover the pool.

    Args:
      of: what balls are in; features of unit norm are the authors'.
      initial_radius: of the balls while nothing is labelled; None for `purity_radius`.
      purity: what `purity_radius` is told; the paper's.
      max_radius: no ball is larger; the authors', as the next two.
      centre: the coverage at which the margin takes over.
      steepness: how suddenly it does.

    Reference:
      Mishal and Weinshall, "DCoM: Active Learning for All Learners", 2024.
      https://arxiv.org/abs/2407.01804
    """
    found = pure_radius(of, None, purity) if initial_radius is None else initial_radius
    return by_selector(
        dcom,
        of,
        uncertainty=read(margin, logits),
        labels=labels,
        predictions=read(lambda z: jnp.argmax(z, axis=-1), logits),
        initial_radius=found,
        max_radius=max_radius,
        centre=centre,
        steepness=steepness,
    )
