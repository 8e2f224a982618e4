"""Rows of unit length."""

import jax
import jax.numpy as jnp
from jax import Array


@jax.jit
def unit_rows(x: Array) -> Array:
    """Returns rows `[N, D]` of unit norm, in float32 at least; zeros stay zero."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    # Scaled by the largest entry first: squares of large or small ones are lost.
    largest = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    x = x / jnp.where(largest > 0, largest, 1)
    norms = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return x / jnp.where(norms > 0, norms, 1)
