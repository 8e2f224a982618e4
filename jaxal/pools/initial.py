"""The labels a loop starts with: random rows, or as many of each class."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks


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
    checks.check_batch_size(num_rows, is_available.shape[0])
    key_rows, key_classes = jax.random.split(key)
    shuffled = jnp.argsort(
        jnp.where(is_available, jax.random.uniform(key_rows, labels.shape), 2.0)
    )
    # The i-th row of its class gets turn i; within a turn classes come in random order.
    is_class = jax.nn.one_hot(labels[shuffled], num_classes, dtype=jnp.int32)
    turn = ((jnp.cumsum(is_class, axis=0) - 1) * is_class).sum(axis=-1)
    place = jax.random.permutation(key_classes, num_classes)[labels[shuffled]]
    last = jnp.iinfo(jnp.int32).max
    order = jnp.where(is_available[shuffled], turn * num_classes + place, last)
    return shuffled[jnp.argsort(order)][:num_rows].astype(jnp.int32)
