"""Groups take turns: rows ranked within their group, then picked turn by turn."""

import jax.numpy as jnp
from jax import Array, lax

from jaxal.selection.engine.picks import first_valid
from jaxal.types import Selection


def turns(groups: Array, *keys: Array) -> Array:
    """Returns how many rows of a row's own group come before it.

    Args:
      groups: `[N]` integers, the group of each row.
      *keys: `[N]` each, ascending, the most significant first; ties go to lower rows.

    Returns:
      `[N]` int32, 0 for the first row of a group.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.selection.spread.turns import turns
      >>> turns(jnp.array([7, 7, 3, 7]), jnp.array([0.5, 0.2, 0.9, 0.7])).tolist()
      [1, 0, 0, 2]
    """
    order = jnp.lexsort((*keys[::-1], groups))
    grouped, places = groups[order], jnp.arange(groups.size, dtype=jnp.int32)
    is_first = jnp.concatenate([jnp.ones(1, bool), grouped[1:] != grouped[:-1]])
    begins = lax.cummax(jnp.where(is_first, places, 0))
    return jnp.zeros_like(places).at[order].set(places - begins)


def take_in_order(
    keys: tuple[Array, ...], is_available: Array, scores: Array, batch_size: int
) -> Selection:
    """Picks the first available rows in the order of `keys`.

    Args:
      keys: `[N]` each, ascending, the most significant first; ties go to lower rows.
      is_available: `[N]` bool.
      scores: `[N]`, handed on for the rows picked.
      batch_size: picks `K`, static.

    Returns:
      `Selection` in that order.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.selection.spread.turns import take_in_order
      >>> turn, free = jnp.array([1, 0, 0]), jnp.ones(3, bool)
      >>> take_in_order((turn,), free, jnp.zeros(3), 2).indices.tolist()
      [1, 2]
    """
    order = jnp.lexsort((*keys[::-1], ~is_available))[:batch_size]
    return first_valid(order, scores[order], jnp.sum(is_available))
