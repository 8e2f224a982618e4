"""Which rows a step is taken on: an order of the labelled rows, and its batches."""

import jax
import jax.numpy as jnp
from jax import Array


def steps_per_epoch(batch_size: int, num_labelled: Array) -> Array:
    """Returns how many batches hold every labelled row once, at least one."""
    return jnp.maximum(-(-num_labelled // batch_size), 1)


def shuffled(key: Array, order: Array, num_labelled: Array) -> Array:
    """Permutes the labelled rows among themselves, leaving the unused tail behind."""
    is_used = jnp.arange(order.shape[0]) < num_labelled
    noise = jax.random.uniform(key, order.shape)
    return order[jnp.argsort(jnp.where(is_used, noise, 2.0))]


def resampled(key: Array, order: Array, num_labelled: Array) -> Array:
    """Replaces the labelled rows by as many draws from them, with replacement."""
    drawn = jax.random.randint(key, order.shape, 0, jnp.maximum(num_labelled, 1))
    is_used = jnp.arange(order.shape[0]) < num_labelled
    return jnp.where(is_used, order[drawn], order)


def batch(
    batch_size: int, order: Array, num_labelled: Array, place: Array | int
) -> tuple[Array, Array]:
    """Returns the rows of one batch, and weights of 0 where it has them once more."""
    slots = place * batch_size + jnp.arange(batch_size)
    rows = order[slots % jnp.maximum(num_labelled, 1)]
    return rows, (slots < num_labelled).astype(jnp.float32)
