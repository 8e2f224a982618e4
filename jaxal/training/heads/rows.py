"""What every solved head does with a pool: units for its columns, rows that do."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import sequential_vmap

from jaxal import linalg
from jaxal.pools.inputs import take_rows
from jaxal.types import Pool

# Rows of the pool that means and deviations are taken from, spread evenly over it.
_MOST_ROWS = 1024

T = TypeVar("T")


class Moments(NamedTuple):
    """Where the columns of a pool lie, and how far they spread."""

    mean: Array  # [D]
    deviation: Array  # [D], 0 for a constant column


def flat(inputs: Array) -> Array:
    """Returns `[B, ...]` as `[B, D]` in floating point, float32 at least."""
    if not hasattr(inputs, "reshape"):
        raise TypeError(
            f"inputs are {type(inputs).__name__}, and a head that is solved takes one "
            "array. Put its columns side by side, or pass supervised(model)."
        )
    rows = inputs.reshape(inputs.shape[0], -1)
    return rows.astype(jnp.promote_types(rows.dtype, jnp.float32))


def scaled(scale: Any, inputs: Array) -> Array:
    """Returns inputs `[B, ...]` as `[B, D]`, less "shift" and times "factor"."""
    return (flat(inputs) - scale["shift"][None]) * scale["factor"][None]


def pool_sample(pool: Pool, seen: Callable[[Any], Array] = flat) -> tuple[Array, Array]:
    """Returns at most 1,024 rows `[B, D]` spread over the pool, and which are valid."""
    stride = -(-pool.labels.shape[0] // _MOST_ROWS)
    rows = seen(take_rows(pool.inputs, slice(None, None, stride)))
    return rows, pool.is_valid[::stride]


def pool_moments(pool: Pool, seen: Callable[[Any], Array] = flat) -> Moments:
    """Returns mean and deviation of each column, from rows spread over the pool.

    Labelled or not, rows say how columns are scaled; a thousand of them say it well
    enough, and are no work in a round.

    Args:
      pool: whose valid rows are read, at most 1,024 of them.
      seen: from inputs to the columns `[B, D]` that they are.
    """
    return moments_of(*pool_sample(pool, seen))


def moments_of(rows: Array, is_valid: Array) -> Moments:
    """Returns mean and deviation of each column of valid rows, of `[B, D]`."""
    is_valid = is_valid[:, None]
    rows = jnp.where(is_valid, rows, 0)
    count = jnp.maximum(is_valid.sum(), 1).astype(rows.dtype)
    mean = rows.sum(0) / count
    gaps = jnp.where(is_valid, rows - mean[None], 0)
    return Moments(mean, jnp.sqrt((gaps**2).sum(0) / count))


def column_factors(moments: Moments, by_column: Array | bool) -> Array:
    """Returns what centred columns are multiplied with, `[D]`.

    Rows then have a squared norm of one, on average: either every column is divided by
    its own deviation, a constant one becoming zero, or all by one number.

    Args:
      moments: of the pool.
      by_column: which of the two, may be traced.
    """
    deviation = moments.deviation
    largest = jnp.abs(moments.mean) + deviation.max()
    is_spread = deviation > linalg.rounding_of(largest)
    own = jnp.where(is_spread, 1 / jnp.where(is_spread, deviation, 1), 0)
    width = jnp.sqrt(jnp.maximum(is_spread.sum(), 1).astype(deviation.dtype))
    total = jnp.sqrt((deviation**2).sum())
    one = jnp.full_like(own, 1) / jnp.where(total > 0, total, 1)
    return jnp.where(by_column, own / width, one)


def some_rows(rows: T, is_used: Array, most: int) -> tuple[T, Array]:
    """Returns at most so many of the rows in use, spread evenly over them.

    Args:
      rows: a pytree of `[L, ...]`, those in use first.
      is_used: `[L]` bool.
      most: how many, static.
    """
    if is_used.shape[0] <= most:
        return rows, is_used
    count = is_used.sum(dtype=jnp.int32)
    places = jnp.arange(most, dtype=jnp.int32)
    # Divided first: a product of two counts may not fit 32 bits.
    spread = places * (count // most) + places * (count % most) // most
    places = jnp.where(count > most, spread, places)
    return jax.tree.map(lambda x: x[places], (rows, is_used))


def centred_rows(
    pool: Pool,
    rows: Array,
    is_used: Array,
    mean: Array,
    seen: Callable[[Any], Array] = flat,
) -> Array:
    """Returns rows of a pool less its mean, zeros where they are not used, `[L, D]`."""
    centred = seen(take_rows(pool.inputs, rows)) - mean[None]
    return jnp.where(is_used[:, None], centred, 0)


def has_grown(before: Array, now: Array) -> Array:
    """Returns whether labels have grown by half since `before`, or there are fewer."""
    return (2 * now >= 3 * before) | (now < before)


def once_if(is_due: Array, fn: Callable[..., T], old: T, *operands: Any) -> T:
    """Returns `fn(*operands)` where it is due and `old` elsewhere.

    `vmap` makes a loop of it, in which it is due or not: a batch of `cond` would
    compute both everywhere, and many problems at a time do not fit a processor's cache.

    Args:
      is_due: [] bool.
      fn: from operands to a pytree like `old`; it may hold no array of its own.
      old: what there is.
      *operands: pytrees.
    """

    @sequential_vmap
    def turn(is_due: Array, old: T, operands: tuple) -> T:
        return jax.lax.cond(is_due, lambda: fn(*operands), lambda: old)

    return turn(is_due, old, operands)
