"""Rows whose inner products can be had without writing the rows out."""

import dataclasses
import math
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks, linalg
from jaxal.pools.mapping import zeroed


def working_dtype(dtype: Any) -> jnp.dtype:
    """Returns the dtype sums are accumulated in: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


class Embedding:
    """`N` points of a Euclidean space, known by norms and inner products only.

    A subclass is a pytree in which every array has the rows along its leading axis,
    so that an embedding can be sharded, sliced into blocks and gathered without
    knowing what it is. It defines `sqnorm` and `inner`; every selector then takes it.
    Selection looks at distances only, so `relative_to` may move all rows alike.
    """

    @property
    def num_rows(self) -> int:
        """Number of rows `N`."""
        return int(jax.tree.leaves(self)[0].shape[0])

    @property
    def dtype(self) -> jnp.dtype:
        """What squared norms and inner products come in."""
        return jax.eval_shape(self.sqnorm).dtype

    @property
    def num_products(self) -> int:
        """Products summed in one inner product: what its rounding error grows with."""
        return sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(self))

    def take(self, rows: Array) -> Self:
        """Returns the embedding of `rows`, `[M]` integers."""
        return jax.tree.map(lambda leaf: leaf[rows], self)

    def where(self, is_kept: Array) -> Self:
        """Returns the rows, of zeros where `is_kept` [N] is False."""
        return jax.tree.map(partial(zeroed, is_kept), self)

    def sqnorm(self) -> Array:
        """Returns squared Euclidean norms, `[N]`."""
        raise NotImplementedError

    def inner(self, other: Self) -> Array:
        """Returns inner products with the `M` rows of `other`, `[N, M]`."""
        raise NotImplementedError

    def origin(self, is_used: Array) -> Any:
        """Returns a point amid the rows where `is_used` [N], None to stay at zero."""
        del is_used
        return None

    def relative_to(self, origin: Any) -> Self:
        """Returns rows as seen from `origin`, in the dtype sums are accumulated in."""
        del origin
        return self

    def project(self, key: Array, num_dims: int) -> Array:
        """Returns random coordinates `[N, num_dims]`, see `random_projection`."""
        raise NotImplementedError


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dense(Embedding):
    """Rows written out, in any floating dtype; sums are taken in float32 at least.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import Dense
      >>> Dense(jnp.array([[3.0, 4.0], [0.0, 1.0]])).sqnorm()
      Array([25.,  1.], dtype=float32)
    """

    x: Array  # [N, D]

    def sqnorm(self) -> Array:
        return jnp.sum(jnp.square(_wide(self.x)), axis=-1)

    def inner(self, other: Self) -> Array:
        return linalg.product(_wide(self.x), _wide(other.x).T)

    def project(self, key: Array, num_dims: int) -> Array:
        x = _wide(self.x)
        directions = jax.random.normal(key, (num_dims, x.shape[-1]), x.dtype)
        return Dense(x).inner(Dense(directions)) / math.sqrt(num_dims)

    def origin(self, is_used: Array) -> Array:
        # A median, so that one row far away does not take the origin with it; the
        # lower one, so that integers stay integers and their distances exact.
        columns = jnp.where(is_used[:, None], _wide(self.x), jnp.inf).T
        middle = jnp.maximum((jnp.sum(is_used) - 1) // 2, 0)
        median = jnp.sort(columns, axis=-1)[:, middle]
        return jnp.where(jnp.isfinite(median), median, 0)

    def relative_to(self, origin: Array) -> Self:
        return dataclasses.replace(self, x=_wide(self.x) - origin[None])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outer(Embedding):
    """Row n is the outer product of `a[n]` and `h[n]`, never written out.

    `<a_i (x) h_i, a_j (x) h_j> = <a_i, a_j> <h_i, h_j>`, so `N (C + D)` numbers stand
    for `N C D`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import Outer
      >>> rows = Outer(jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 0.0, 1.0]]))
      >>> rows.sqnorm()
      Array([50.], dtype=float32)
    """

    a: Array  # [N, C]
    h: Array  # [N, D]

    def sqnorm(self) -> Array:
        return Dense(self.a).sqnorm() * Dense(self.h).sqnorm()

    def inner(self, other: Self) -> Array:
        return Dense(self.a).inner(Dense(other.a)) * Dense(self.h).inner(Dense(other.h))

    def project(self, key: Array, num_dims: int) -> Array:
        key_a, key_h = jax.random.split(key)
        left = Dense(self.a).project(key_a, num_dims)
        right = Dense(self.h).project(key_h, num_dims)
        return left * right * math.sqrt(num_dims)


def as_embedding(rows: Array | Embedding) -> Embedding:
    """Returns an embedding: an array `[N, D]` becomes `Dense`.

    Args:
      rows: an `Embedding`, or `[N, D]` floating point.

    Returns:
      The embedding.

    Raises:
      TypeError: the array is not floating point.
      ValueError: the array has not two axes.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import as_embedding
      >>> as_embedding(jnp.ones([4, 2])).num_rows
      4
    """
    if isinstance(rows, Embedding):
        return rows
    array = jnp.asarray(rows)
    checks.check_rank(
        "embedding", array, 2, "[N, D]", "Flatten each row, one row an example."
    )
    checks.check_floating("embedding", array, "Cast it, to float32 for example.")
    return Dense(array)


def _wide(x: Array) -> Array:
    return x.astype(working_dtype(x.dtype))


@jax.jit
def unit_rows(x: Array) -> Array:
    """Returns rows `[N, D]` of unit norm, in float32 at least; zeros stay zero."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    # Scaled by the largest entry first: squares of large or small ones are lost.
    largest = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    x = x / jnp.where(largest > 0, largest, 1)
    norms = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return x / jnp.where(norms > 0, norms, 1)


@jax.jit
def with_bias(features: Array) -> Array:
    """Returns features with a column of ones: the bias is a weight like any other."""
    return jnp.pad(features, ((0, 0), (0, 1)), constant_values=1)
