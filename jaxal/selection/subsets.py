"""A part of the pool in place of all of it, and the way back to row numbers."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.selection.ranked import gumbel_top_k
from jaxal.types import Selection


def random_subset(key: Array, mask: Array, num: int) -> tuple[Array, Array]:
    """Returns rows drawn uniformly, without replacement, where `mask`.

    Args:
      key: a typed key, consumed.
      mask: `[N]` bool, rows that may be drawn.
      num: M, static; at most N are drawn.

    Returns:
      `[M]` rows, 0 where the mask has no more, and `[M]` bool, False there.
    """
    num = min(num, mask.shape[0])
    drawn = gumbel_top_k(key, jnp.zeros(mask.shape[0]), mask, batch_size=num)
    return jnp.where(drawn.is_valid, drawn.indices, 0), drawn.is_valid


@jax.jit
def in_pool(selection: Selection, rows: Array, is_available: Array) -> Selection:
    """Returns a selection among `rows` [M] as one among the rows of the pool."""
    num_rows = is_available.shape[0]
    known = rows.at[selection.indices].get(mode="clip")
    indices = jnp.where(selection.is_valid, known, num_rows).astype(jnp.int32)
    scores = jnp.where(selection.is_valid, selection.scores, -jnp.inf)
    return Selection(indices, scores, selection.is_valid)
