"""Targets of a regression in their own units: centred and scaled inside."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Units(NamedTuple):
    """Where the labelled targets lie, and how far they spread."""

    mean: Array  # []
    deviation: Array  # [], 1 where they do not spread

    def inwards(self, targets: Array) -> Array:
        """Returns targets with a mean of 0 and a deviation of 1."""
        return (targets - self.mean) / self.deviation

    def outwards(self, mean: Array, variance: Array) -> Array:
        """Returns outputs `[..., 2]`, mean and log-variance in the targets' units."""
        mean = self.mean + self.deviation * mean
        variance = jnp.log(variance) + 2 * jnp.log(self.deviation)
        return jnp.stack([mean, jnp.broadcast_to(variance, mean.shape)], axis=-1)


def target_units(targets: Array, is_used: Array) -> Units:
    """Returns mean and standard deviation of the targets in use; 0 and 1 without any.

    Args:
      targets: `[L]`, anything where they are not in use.
      is_used: `[L]` bool.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.training.targets import target_units
      >>> targets, is_used = jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1, 1, 0]) > 0
      >>> [float(x) for x in target_units(targets, is_used)]
      [2.0, 1.0]
    """
    count = jnp.maximum(is_used.sum(), 1).astype(targets.dtype)
    mean = jnp.where(is_used, targets, 0).sum() / count
    gaps = jnp.where(is_used, targets - mean, 0)
    deviation = jnp.sqrt((gaps**2).sum() / count)
    return Units(mean, jnp.where(deviation > 1e-6 * jnp.abs(mean), deviation, 1))
