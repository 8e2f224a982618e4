"""Batches drawn around a ranking: chance in place of the diversity top-K lacks.

Scores are only right for the first pick of a batch; the noise stands for how much
they would move while the rest of it is labelled.
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.pools.mesh import find_mesh
from jaxal.selection.engine.door import selector, within
from jaxal.selection.ranked import gumbel_top_k
from jaxal.types import Selection

_COLDEST = 1e30  # as good as infinity, which times zero is no number


@selector
def power_top_k(
    key: Array,
    scores: Array,
    is_available: Array,
    *,
    batch_size: int,
    coldness: float | Array = 1.0,
) -> Selection:
    """Draws rows in proportion to a power of their scores, without replacement.

    Row n is drawn next with probability `s_n^b / sum_m s_m^b` over the rows left, b
    being the coldness: 0 draws uniformly, infinity is `top_k`. Only ratios of scores
    matter, so the scale of the score does not. With BALD scores this is PowerBALD.

    Args:
      key: typed key, consumed.
      scores: `[N]`, not negative; a score of zero or less is drawn last, at random.
      is_available: `[N]` bool, rows that may be drawn.
      batch_size: K, static.
      coldness: b, 0 or more, as infinity. The default is the paper's.

    Returns:
      Selection in the order drawn; `scores` holds `b log s` plus the row's noise.

    Raises:
      ValueError: a shape, `batch_size` or `coldness` is out of range.
      TypeError: an argument has the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> scores, free = jnp.array([0.0, 1e-20, 1.0]), jnp.ones(3, bool)
      >>> power_top_k(jax.random.key(0), scores, free, batch_size=3).indices.tolist()
      [2, 1, 0]

    Reference:
      Kirsch et al., Stochastic Batch Acquisition: A Simple Baseline for Deep Active
      Learning, TMLR 2023. https://arxiv.org/abs/2106.12059
    """
    weights = _power_weights(scores, _finite(coldness))
    return _drawn(key, weights, is_available, batch_size)


@selector
def softmax_top_k(
    key: Array,
    scores: Array,
    is_available: Array,
    *,
    batch_size: int,
    coldness: float | Array = 1.0,
) -> Selection:
    """Draws rows in proportion to `exp(coldness * score)`, without replacement.

    Unlike `power_top_k` this depends on the scale of the scores: differences of one
    over the coldness matter, smaller ones do not.

    Args:
      key: typed key, consumed.
      scores: `[N]`, any sign.
      is_available: `[N]` bool, rows that may be drawn.
      batch_size: K, static.
      coldness: b, 0 or more, as infinity. The default is the paper's.

    Returns:
      Selection in the order drawn; `scores` holds `b s` plus the row's noise.

    Raises:
      ValueError: a shape, `batch_size` or `coldness` is out of range.
      TypeError: an argument has the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> scores, free = jnp.array([-90.0, 0.0, 90.0]), jnp.ones(3, bool)
      >>> softmax_top_k(jax.random.key(0), scores, free, batch_size=2).indices.tolist()
      [2, 1]

    Reference:
      Kirsch et al., Stochastic Batch Acquisition: A Simple Baseline for Deep Active
      Learning, TMLR 2023. https://arxiv.org/abs/2106.12059
    """
    weights = _finite(coldness) * scores.astype(jnp.float32)
    return _drawn(key, weights, is_available, batch_size)


@selector
def softrank_top_k(
    key: Array,
    scores: Array,
    is_available: Array,
    *,
    batch_size: int,
    coldness: float | Array = 1.0,
) -> Selection:
    """Draws rows in proportion to a power of one over their rank, unreplaced.

    Row n is drawn next in proportion to `r_n^-b`, where r counts from 1 at the best
    available score: only the order of scores matters. Equal scores share the best of
    their ranks.

    Args:
      key: typed key, consumed.
      scores: `[N]`, any sign.
      is_available: `[N]` bool, rows that may be drawn.
      batch_size: K, static.
      coldness: b, 0 or more, as infinity. The default is the paper's.

    Returns:
      Selection in the order drawn; `scores` holds `-b log r` plus the row's noise.

    Raises:
      ValueError: a shape, `batch_size` or `coldness` is out of range.
      TypeError: an argument has the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> key, free = jax.random.key(0), jnp.ones(2, bool)
      >>> scores = jnp.array([3.0, 5.0])
      >>> picks = softrank_top_k(key, scores, free, batch_size=2, coldness=100.0)
      >>> picks.indices.tolist()
      [1, 0]

    Reference:
      Kirsch et al., Stochastic Batch Acquisition: A Simple Baseline for Deep Active
      Learning, TMLR 2023. https://arxiv.org/abs/2106.12059
    """
    weights = _rank_weights(scores, is_available, _finite(coldness))
    return _drawn(key, weights, is_available, batch_size)


def _finite(coldness: float | Array) -> float | Array:
    if not isinstance(coldness, jax.core.Tracer) and not coldness >= 0:
        raise ValueError(
            f"coldness is {coldness}, expected 0 or more: 0 draws uniformly, infinity "
            "takes the top."
        )
    return jnp.minimum(coldness, _COLDEST)


def _drawn(
    key: Array, log_weights: Array, is_available: Array, batch_size: int
) -> Selection:
    mesh = find_mesh(None, log_weights)
    return within(gumbel_top_k)(
        key, log_weights, is_available, batch_size=batch_size, mesh=mesh
    )


@jax.jit
def _power_weights(scores: Array, coldness: float | Array) -> Array:
    scores = scores.astype(jnp.float32)
    logs = jnp.log(jnp.where(scores > 0, scores, 1))
    return jnp.where(scores > 0, coldness * logs, -jnp.inf)


@jax.jit
def _rank_weights(scores: Array, is_available: Array, coldness: float | Array) -> Array:
    # Rows that cannot be had are sorted last and so are ahead of nobody.
    ascending = jnp.sort(jnp.where(is_available, -scores, jnp.inf))
    better = jnp.searchsorted(ascending, -scores, side="left")
    return -coldness * jnp.log1p(better.astype(jnp.float32))
