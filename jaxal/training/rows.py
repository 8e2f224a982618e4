"""What learners of one's own train on: the labelled rows, in a form that is safe."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxal.pools.inputs import take_rows
from jaxal.types import Inputs, Pool


class LabelledRows(NamedTuple):
    """Labelled rows of a pool first, then rows that do not count."""

    inputs: Inputs  # a pytree of [L, ...]
    labels: Array  # [L] as in the pool; 0, not NaN or -1, where a row does not count
    weights: Array  # [L] 1, or 0 where a row does not count
    indices: Array  # [L] int32 rows of the pool


def labelled_numbers(pool: Pool, capacity: int | None) -> tuple[Array, Array]:
    """Returns the labelled rows' numbers, first, and which places they fill, `[L]`.

    Args:
      pool: of `N` rows.
      capacity: the most there will be, None for `N`.
    """
    size = min(capacity or pool.labels.shape[0], pool.labels.shape[0])
    (rows,) = jnp.nonzero(pool.is_labelled, size=size, fill_value=0)
    count = pool.is_labelled.sum(dtype=jnp.int32)
    return rows.astype(jnp.int32), jnp.arange(size, dtype=jnp.int32) < count


def labelled_rows(pool: Pool, capacity: int | None = None) -> LabelledRows:
    """Returns the labelled rows of a pool, with nothing in them that is not finite.

    A row that nobody has labelled has the target NaN in a regression. Masking its loss,
    `jnp.where(is_labelled, loss, 0)`, leaves NaN in the gradient, since 0 times NaN is
    NaN. Here such rows have the label 0, the weight 0 and the inputs of a row that is
    there, so that a likelihood times the weights is right, and so is its gradient.

    Args:
      pool: of any kind.
      capacity: `L`, the most labelled rows there will ever be; by default the size of
        the pool. Rows beyond it are left out, see `Learner.capacity`.

    Returns:
      `LabelledRows` of fixed shapes: the executable of round 1 serves every later one.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import Learner, labelled_rows, regression_pool
      >>> def fit(key, weights, pool):  # a MAP fit, or a sampler's log-density
      ...   rows = labelled_rows(pool, 4)
      ...   def log_density(w):
      ...     errors = rows.inputs @ w - rows.labels
      ...     return -(rows.weights * errors**2).sum() - 1e-6 * (w**2).sum()
      ...   step = jax.hessian(log_density)(weights), jax.grad(log_density)(weights)
      ...   return weights - jnp.linalg.solve(*step), None
      >>> learner = Learner(lambda key, x: jnp.zeros(x.shape[-1]), fit, capacity=4)
      >>> inputs = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
      >>> pool = regression_pool(inputs, jnp.array([2.0, 3.0, jnp.nan]))
      >>> start = learner.init(jax.random.key(0), inputs)
      >>> weights, _ = learner.fit(jax.random.key(1), start, pool)
      >>> [round(float(x), 3) for x in weights]
      [2.0, 3.0]
    """
    rows, is_used = labelled_numbers(pool, capacity)
    rows = jnp.where(is_used, rows, rows[0])
    labels = jnp.where(is_used, pool.labels[rows], 0).astype(pool.labels.dtype)
    weights = is_used.astype(jnp.float32)
    return LabelledRows(take_rows(pool.inputs, rows), labels, weights, rows)


def weights_of(weights: Array | None, rows: Array) -> Array:
    """Returns the weights `[B]` of rows; one that came later counts once."""
    if weights is None:
        return jnp.ones(rows.shape, jnp.float32)
    return weights.at[rows].get(mode="fill", fill_value=1)


def checked_weights(
    name: str, values: ArrayLike | None, shape: tuple[int | None, ...]
) -> Array | None:
    """Returns weights as an array of real numbers, None where there are none.

    Args:
      name: what they are called.
      values: given.
      shape: that is expected, None for any number.

    Raises:
      ValueError: the shape is another, or one is negative or not finite.
    """
    if values is None:
        return None
    array = jnp.asarray(values)
    fits = len(shape) == array.ndim and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} has shape {list(array.shape)}, expected "
            f"{['N' if want is None else want for want in shape]}."
        )
    if not bool((array >= 0).all() & jnp.isfinite(array).all()):
        raise ValueError(f"{name} holds a negative number or none, expected 0 or more.")
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
