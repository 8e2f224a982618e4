"""Ranked selection: the highest scores, with or without chance."""

from functools import partial

import jax
from jax import Array
from jax.sharding import Mesh

from jaxal.pools.mesh import Shard, over_rows
from jaxal.selection.engine.chance import lots_of, perturb, row_lots
from jaxal.selection.engine.door import selector
from jaxal.selection.engine.picks import (
    first_valid,
    highest,
    highest_by_lot,
    num_to_pick,
    rankable,
)
from jaxal.types import Selection


@selector
def top_k(
    key: Array,
    scores: Array,
    is_available: Array,
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> Selection:
    """Returns the available rows of the highest scores.

    Ties are drawn with the key: scores that differ by rounding alone count as equal.

    Args:
      key: a typed key, consumed; used for ties.
      scores: `[N]` floating point, higher is more worth labelling; -inf is the lowest.
      is_available: `[N]` bool.
      batch_size: picks `K`, static.
      mesh: where the rows live, by default as `scores` is sharded; if it does not
        divide them they are copied, so pad them first, as `make_pool` does.

    Returns:
      `Selection`, best first, with the scores as given; indices are `N` where fewer
      than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, the score of an available row is NaN or +inf, or
        `batch_size` is not in `1 .. N`.
      TypeError: `scores` is not floating point, or the mask not bool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import top_k
      >>> scores, free = jnp.array([0.1, 0.9, 0.5]), jnp.array([True, False, True])
      >>> top_k(jax.random.key(0), scores, free, batch_size=2).indices
      Array([2, 0], dtype=int32)
    """
    return _ranked(key, scores, is_available, batch_size, mesh, False)


@selector
def gumbel_top_k(
    key: Array,
    log_weights: Array,
    is_available: Array,
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> Selection:
    """Draws rows without replacement, in proportion to `exp(log_weights)`.

    The rows of the `K` largest `log_weights + G`, with `G` standard Gumbel noise, are
    a draw of one row after another, each in proportion to the weights that are left.
    The noise belongs to the row, so the draw does not depend on how rows are sharded.

    Args:
      key: a typed key, consumed.
      log_weights: `[N]` floating point; all equal for a uniform draw. Rows of -inf
        are drawn, at random, when no others are left.
      is_available: `[N]` bool.
      batch_size: picks `K`, static.
      mesh: where the rows live, by default as `log_weights` is sharded; if it does not
        divide them they are copied, so pad them first, as `make_pool` does.

    Returns:
      `Selection` in the order drawn, with the perturbed log-weights as scores;
      indices are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, the weight of an available row is NaN or infinite,
        or `batch_size` is not in `1 .. N`.
      TypeError: `log_weights` is not floating point, or the mask not bool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import gumbel_top_k
      >>> free = jnp.array([True, False, True])
      >>> picks = gumbel_top_k(jax.random.key(0), jnp.zeros(3), free, batch_size=2)
      >>> sorted(picks.indices.tolist())
      [0, 2]

    Reference:
      Stochastic beams and where to find them, https://arxiv.org/abs/1903.06059
    """
    return _ranked(key, log_weights, is_available, batch_size, mesh, True)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _ranked(
    key: Array,
    scores: Array,
    is_available: Array,
    batch_size: int,
    mesh: Mesh | None,
    is_noisy: bool,
) -> Selection:
    def select(shard: Shard, key: Array, rows: tuple[Array, Array]) -> Selection:
        scores, is_available = rows
        scores = perturb(key, shard, scores) if is_noisy else scores
        values = rankable(scores, is_available)
        if is_noisy:
            _, chosen = highest(shard, values, batch_size)
        else:
            lots = partial(row_lots, key, shard)
            own = partial(lots_of, key)
            _, chosen = highest_by_lot(shard, values, lots, batch_size, own)
        target = num_to_pick(shard, is_available, batch_size)
        return first_valid(chosen, shard.fetch(scores, chosen), target)

    return over_rows(select, key, (scores, is_available), mesh=mesh)
