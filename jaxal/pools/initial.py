"""The labels a loop starts with: random rows, or as many of each class."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal import checks
from jaxal.pools.inputs import is_traced
from jaxal.types import Pool


def initial_rows(key: Array, pool: Pool, initial: Any) -> Array | None:
    """Returns the rows that a loop starts with, or raises what is wrong with them.

    Args:
      key: consumed where rows are drawn.
      pool: the rows must be available in.
      initial: how many rows, of any integer kind, to draw at random; or which rows,
        `[L]` numbers or a mask `[N]`; or None.

    Returns:
      `[L]` int32 rows, None where there are none.

    Raises:
      TypeError: it is none of these.
      ValueError: a row is none of the pool, named twice or not available; or there are
        not as many.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np
      >>> from jaxal import make_pool
      >>> from jaxal.pools.initial import initial_rows
      >>> pool, key = make_pool(jnp.zeros([4, 1])), jax.random.key(0)
      >>> initial_rows(key, pool, np.int64(3)).shape
      (3,)
      >>> initial_rows(key, pool, np.array([False, True, False, True])).tolist()
      [1, 3]
    """
    if initial is None:
        return None
    if is_traced(initial):
        if jnp.ndim(initial) == 1 and jnp.issubdtype(initial.dtype, jnp.integer):
            return initial.astype(jnp.int32)
        raise TypeError(
            "initial is traced, expected numbers of rows [L]: a number of rows or a "
            "mask sets an output shape, so it must be known. Close over it."
        )
    given = np.asarray(initial)
    if given.ndim == 0 and np.issubdtype(given.dtype, np.integer):
        return _drawn(key, pool, int(given))
    if given.ndim == 1 and given.dtype == np.bool_:
        given = _of_mask(pool, given)
    if given.ndim != 1 or not (
        np.issubdtype(given.dtype, np.integer) or not given.size
    ):
        raise TypeError(
            f"initial is {given.dtype} of shape {list(given.shape)}, expected how many "
            "rows (an integer; of a share, int(share * N)), their numbers [L], or a "
            "mask [N]."
        )
    checks.check_rows("initial", given, pool.labels.shape[0])
    rows = jnp.asarray(given.astype(np.int32))
    if not is_traced(pool.labels, pool.is_labelled) and given.size:
        with jax.ensure_compile_time_eval():  # the key may be traced
            is_taken = np.asarray(~pool.is_available[rows])
        if is_taken.any():
            raise ValueError(
                f"initial names {given[is_taken].tolist()}, which are labelled already "
                "or not for sale. Leave them out."
            )
    return rows if given.size else None


def _drawn(key: Array, pool: Pool, size: int) -> Array | None:
    most = pool.labels.shape[0]
    if not is_traced(pool.labels, pool.is_labelled):
        with jax.ensure_compile_time_eval():  # the key may be traced
            most = int(pool.is_available.sum())
    if not 0 <= size <= most:
        raise ValueError(
            f"initial is {size}, expected 0 to {most}, the rows that are available."
        )
    return random_rows(key, pool.is_available, num_rows=size) if size else None


def _of_mask(pool: Pool, mask: np.ndarray) -> np.ndarray:
    most = pool.labels.shape[0]
    is_spare = pool.is_spare
    least = most
    if is_spare is not None and not is_traced(is_spare):
        with jax.ensure_compile_time_eval():
            least -= int(is_spare.sum())
    if not least <= mask.shape[0] <= most:
        raise ValueError(
            f"initial is a mask of {mask.shape[0]} rows, the pool has {least}."
        )
    return np.flatnonzero(mask)


def random_rows(key: Array, is_available: Array, *, num_rows: int) -> Array:
    """Returns distinct available rows, drawn uniformly.

    Args:
      key: consumed.
      is_available: `[N]` bool.
      num_rows: how many, static; no more than are available.

    Returns:
      `[num_rows]` int32 rows.

    Raises:
      ValueError: `num_rows` is larger than the pool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import random_rows
      >>> is_available = jnp.array([False, True, False, True])
      >>> sorted(random_rows(jax.random.key(0), is_available, num_rows=2).tolist())
      [1, 3]
    """
    checks.check_key(key)
    checks.check_batch_size(num_rows, is_available.shape[0])
    noise = jax.random.uniform(key, is_available.shape)
    order = jnp.argsort(jnp.where(is_available, noise, 2.0))
    return order[:num_rows].astype(jnp.int32)


def class_balanced_rows(
    key: Array, labels: Array, is_available: Array, *, num_rows: int, num_classes: int
) -> Array:
    """Returns distinct available rows, as evenly spread over the classes as can be.

    It looks at the true labels, so it is for reproducing published protocols, not for
    a pool whose labels cost money.

    Args:
      key: consumed.
      labels: `[N]` true classes.
      is_available: `[N]` bool.
      num_rows: how many, static; class counts differ by at most one while no class
        runs out.
      num_classes: the number of classes `C`.

    Returns:
      `[num_rows]` int32 rows.

    Raises:
      ValueError: `num_rows` is larger than the pool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import class_balanced_rows
      >>> labels = jnp.array([0, 0, 0, 0, 1, 1])
      >>> rows = class_balanced_rows(
      ...     jax.random.key(0), labels, jnp.ones(6, bool), num_rows=4, num_classes=2)
      >>> sorted(labels[rows].tolist())
      [0, 0, 1, 1]
    """
    checks.check_key(key)
    checks.check_batch_size(num_rows, is_available.shape[0])
    key_rows, key_classes = jax.random.split(key)
    shuffled = random_rows(key_rows, is_available, num_rows=labels.shape[0])
    # The i-th row of its class gets turn i; within a turn classes come in random order.
    is_class = jax.nn.one_hot(labels[shuffled], num_classes, dtype=jnp.int32)
    turn = ((jnp.cumsum(is_class, axis=0) - 1) * is_class).sum(axis=-1)
    place = jax.random.permutation(key_classes, num_classes)[labels[shuffled]]
    last = jnp.iinfo(jnp.int32).max
    order = jnp.where(is_available[shuffled], turn * num_classes + place, last)
    return shuffled[jnp.argsort(order)][:num_rows]
