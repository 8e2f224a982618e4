"""The highest values of a pool, wherever its rows lie."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.pools.mesh import Shard


def highest(shard: Shard, values: Array, num: int) -> tuple[Array, Array]:
    """Returns the `num` largest values of the pool and their rows, on every device."""
    found, local = lax.top_k(values, min(num, values.shape[0]))
    rows = local.astype(jnp.int32) + shard.first_row
    if shard.axis is None:
        return found, rows
    # Devices come in the order of their rows, so ties still go to the lower row.
    found, rows = jax.tree.map(jnp.ravel, shard.gather((found, rows)))
    found, order = lax.top_k(found, num)
    return found, rows[order]


def best_of(shard: Shard, values: Array) -> tuple[Array, Array]:
    """Returns the largest value of the pool and its row, the lowest of several."""
    local = jnp.argmax(values).astype(jnp.int32)
    found, rows = shard.gather((values[local], local + shard.first_row))
    device = jnp.argmax(found)
    return found[device], rows[device]


def rankable(scores: Array, is_available: Array) -> Array:
    """Returns scores that `lax.top_k` ranks as `top_k` does: NaN low, others last."""
    # lax.top_k ranks NaN first; and -inf must still beat rows that cannot be had.
    lowest = jnp.finfo(scores.dtype).min
    finite = jnp.maximum(jnp.where(jnp.isnan(scores), lowest, scores), lowest)
    return jnp.where(is_available, finite, -jnp.inf)
