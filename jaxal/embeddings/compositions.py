"""Embeddings made of embeddings: weighted, side by side, projected."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.embeddings.base import Dense, Embedding, Outer, working_dtype


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scaled(Embedding):
    """Row n of an embedding, multiplied by `factors[n]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import Dense, Scaled
      >>> Scaled(Dense(jnp.ones([2, 3])), jnp.array([2.0, 0.0])).sqnorm()
      Array([12.,  0.], dtype=float32)
    """

    rows: Embedding
    factors: Array  # [N]

    def sqnorm(self) -> Array:
        return self.rows.sqnorm() * jnp.square(self.factors)

    def inner(self, other: Self) -> Array:
        products = self.rows.inner(other.rows)
        return products * self.factors[:, None] * other.factors[None]

    def origin(self, is_used: Array) -> Any:
        if isinstance(self.rows, Dense):
            factor = Dense(self.factors[:, None]).origin(is_used)[0]
            return self.rows.origin(is_used), factor
        inside = _inside(self.rows, self.factors)
        return None if inside is None else inside.origin(is_used)

    def relative_to(self, origin: Any) -> Embedding:  # type: ignore[override]
        if isinstance(self.rows, Dense):
            # f x - g o = f (x - o) + (f - g) o, in which nothing large is rounded.
            point, factor = origin
            near = self.rows.relative_to(point).x * self.factors[:, None]
            return Dense(near + (self.factors - factor)[:, None] * point[None])
        inside = _inside(self.rows, self.factors)
        return self if inside is None else inside.relative_to(origin)

    def project(self, key: Array, num_dims: int) -> Array:
        return self.rows.project(key, num_dims) * self.factors[:, None]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Concatenated(Embedding):
    """Embeddings of the same rows side by side: their inner products add up.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import Concatenated, Dense
      >>> Concatenated((Dense(jnp.ones([2, 3])), Dense(jnp.ones([2, 1])))).sqnorm()
      Array([4., 4.], dtype=float32)
    """

    parts: tuple[Embedding, ...]

    def sqnorm(self) -> Array:
        return jnp.stack([part.sqnorm() for part in self.parts]).sum(0)

    def inner(self, other: Self) -> Array:
        pairs = zip(self.parts, other.parts, strict=True)
        return jnp.stack([part.inner(rows) for part, rows in pairs]).sum(0)

    def origin(self, is_used: Array) -> tuple:
        return tuple(part.origin(is_used) for part in self.parts)

    def relative_to(self, origin: tuple) -> Self:
        moved = zip(self.parts, origin, strict=True)
        return dataclasses.replace(
            self, parts=tuple(part.relative_to(point) for part, point in moved)
        )

    def project(self, key: Array, num_dims: int) -> Array:
        keys = jax.random.split(key, len(self.parts))
        pairs = zip(self.parts, keys, strict=True)
        return jnp.stack([part.project(k, num_dims) for part, k in pairs]).sum(0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Masked(Embedding):
    """Rows of an embedding that read as zero where `is_kept` is False.

    What the other rows hold never enters a sum. They are put to zero where they are
    looked at, a chunk at a time: no copy of the pool is made.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import Dense
      >>> from jaxal.embeddings.compositions import Masked
      >>> rows = Dense(jnp.array([[3.0, 4.0], [jnp.nan, 1.0]]))
      >>> Masked(rows, jnp.array([True, False])).sqnorm().tolist()
      [25.0, 0.0]
    """

    rows: Embedding
    is_kept: Array  # [N]

    @property
    def num_products(self) -> int:
        return self.rows.num_products

    def written(self) -> Embedding:
        """Returns the rows as they read."""
        return self.rows.where(self.is_kept)

    def sqnorm(self) -> Array:
        return self.written().sqnorm()

    def inner(self, other: Embedding) -> Array:
        rows = other.written() if isinstance(other, Masked) else other
        return self.written().inner(rows)

    def origin(self, is_used: Array) -> Any:
        return self.written().origin(is_used)

    def relative_to(self, origin: Any) -> Embedding:  # type: ignore[override]
        return self.written().relative_to(origin)

    def project(self, key: Array, num_dims: int) -> Array:
        return self.written().project(key, num_dims)


def random_projection(key: Array, embedding: Embedding, num_dims: int) -> Dense:
    """Returns `num_dims` random coordinates of each row, written out.

    With `G` of independent standard normal entries, row `x` becomes
    `G x / sqrt(num_dims)`; an outer product `a (x) h` becomes
    `(G a) * (H h) / sqrt(num_dims)`, elementwise, with `G` and `H` independent.
    Squared norms and inner products are kept on average.

    Args:
      key: a typed key, consumed.
      embedding: `N` rows of any kind.
      num_dims: coordinates to keep.

    Returns:
      `Dense` of shape `[N, num_dims]`.

    Raises:
      TypeError: `key` is not a typed key.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import Dense, random_projection
      >>> random_projection(jax.random.key(0), Dense(jnp.ones([5, 64])), 8).x.shape
      (5, 8)

    Reference:
      Fast and scalable polynomial kernels via explicit feature maps,
      https://doi.org/10.1145/2487575.2487591
    """
    checks.check_key(key)
    return Dense(embedding.project(key, num_dims))


def _inside(rows: Embedding, factors: Array) -> Embedding | None:
    """Returns rows with the factors nearer to their arrays, None for unknown kinds."""
    if isinstance(rows, Outer):
        left = rows.a.astype(working_dtype(rows.a.dtype))
        return Outer(left * factors[:, None], rows.h)
    if isinstance(rows, Scaled):
        return Scaled(rows.rows, rows.factors * factors)
    if isinstance(rows, Concatenated):
        return Concatenated(tuple(Scaled(part, factors) for part in rows.parts))
    return None


def unmasked(rows: Embedding) -> Embedding:
    """Returns rows as they read, of their own kind."""
    return rows.written() if isinstance(rows, Masked) else rows


def written_out(rows: Embedding, why: str) -> Dense:
    """Returns rows with their coordinates, or raises TypeError where there are none.

    Args:
      rows: of any kind.
      why: what coordinates are wanted for, a clause.
    """
    found = unmasked(rows)
    if not isinstance(found, Dense):
        raise TypeError(
            f"embedding is {type(found).__name__}, expected Dense: {why}. Use "
            "random_projection to write down a few coordinates."
        )
    return found
