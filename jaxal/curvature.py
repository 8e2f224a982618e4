"""Sums of Kronecker products over the few rows of a pool that count."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg

_CHUNK = 1024


def softmax_curvature(probs: Array, features: Array, is_counted: Array) -> Array:
    """Returns the curvature of some rows' cross-entropy in a last layer.

    `sum_n (diag(p_n) - p_n p_n^T) (x) h_n h_n^T`, over the rows that count. Cost:
    `(C D)^2` operations for each of those, whatever the size of the pool.

    Args:
      probs: `[N, C]` predictions.
      features: `[N, D]`, what the last layer sees.
      is_counted: `[N]` bool, rows that count.

    Returns:
      `[C D, C D]`, row `c D + d` for the weight of feature d on class c.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.curvature import softmax_curvature
      >>> probs, features = jnp.full((3, 2), 0.5), jnp.ones((3, 1))
      >>> softmax_curvature(probs, features, jnp.array([True, True, False])).tolist()
      [[0.5, -0.5], [-0.5, 0.5]]
    """

    def covariance(probs: Array) -> Array:
        squares = probs[:, :, None] * probs[:, None, :]
        return (
            jnp.eye(probs.shape[1], dtype=probs.dtype)[None] * probs[:, None, :]
            - squares
        )

    return kronecker_sum(covariance, probs, features, is_counted)


def kronecker_sum(
    left: Callable[[Any], Array], rows: Any, features: Array, weights: Array
) -> Array:
    """Returns `sum_n weights_n A_n (x) h_n h_n^T` over rows of weight other than 0.

    Args:
      left: from a chunk of `rows` to the symmetric matrices A, `[B, E, E]`.
      rows: a pytree of `[N, ...]`.
      features: h `[N, D]`.
      weights: `[N]`, numbers or bool.

    Returns:
      `[E D, E D]`.
    """
    num_rows, width = features.shape
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    chunk = min(_CHUNK, num_rows)
    row = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype), rows)
    size = jax.eval_shape(left, row).shape[1]
    first, second = jnp.triu_indices(size)
    # Rows that count first, so that the loop can stop after them.
    order = jnp.argsort(weights == 0, stable=True)
    num_counted = jnp.sum(weights != 0)

    def add(index: Array, blocks: Array) -> Array:
        start = jnp.minimum(index * chunk, num_rows - chunk)
        chosen = jax.lax.dynamic_slice_in_dim(order, start, chunk)
        # The last chunk overlaps the one before it: those rows were counted.
        is_new = start + jnp.arange(chunk) >= index * chunk
        scale = jnp.where(is_new, weights[chosen], 0).astype(dtype)
        matrices = left(jax.tree.map(lambda x: x[chosen], rows)).astype(dtype)
        some = features[chosen].astype(dtype)
        pairs = (matrices[:, first, second] * scale[:, None]).T
        return blocks + jax.lax.map(partial(_gram, some), pairs)

    empty = jnp.zeros((first.size, width, width), dtype)
    blocks = jax.lax.fori_loop(0, -(-num_counted // chunk), add, empty)
    whole = jnp.zeros((size, size, width, width), dtype)
    whole = whole.at[first, second].set(blocks).at[second, first].set(blocks)
    return whole.transpose(0, 2, 1, 3).reshape(size * width, size * width)


def _gram(features: Array, weights: Array) -> Array:
    weighted = features * weights[:, None]
    return linalg.product(weighted.T, features)
