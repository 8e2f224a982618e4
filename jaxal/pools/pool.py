"""The pool: fixed rows and changing masks, sharded over devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxal.modes import held
from jaxal.pools.inputs import as_inputs, num_rows
from jaxal.pools.mesh import pool_mesh, spread_over
from jaxal.types import Pool

UNLABELLED = -1


def pad_rows(array: Any, size: int, value: Any = 0) -> Any:
    """Returns `array` with constant rows appended until it has `size`."""
    missing = size - array.shape[0]
    if missing == 0:
        return array
    widths = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    if isinstance(array, np.ndarray):  # stays off the devices until it is sharded
        return np.pad(array, widths, constant_values=value)
    return jnp.pad(array, widths, constant_values=value)


def make_pool(
    inputs: Any,
    labels: ArrayLike | None = None,
    *,
    capacity: int | None = None,
    unlabelled: int = UNLABELLED,
    mesh: Mesh | None = None,
) -> Pool:
    """Returns a pool whose rows are padded to the mesh and sharded over it.

    Args:
      inputs: what the model takes: an array `[N, ...]` in any dtype, or a dict (or
        another pytree) of such arrays, see `jaxal.pools.inputs.as_inputs`.
      labels: `[N]` integers, -1 where nobody has answered; by default nobody has.
      capacity: rows there will ever be, for `extend`; by default as many as there are.
      unlabelled: what `labels` holds where nobody has answered, such as 255.
      mesh: where the rows live, by default `pool_mesh()`, every device there is.

    Returns:
      A `Pool` of `N` rounded up to the number of devices; `is_valid` is False on
      the rows that were added.

    Raises:
      ValueError: `inputs` has no rows, arrays of other lengths, NaN or infinity, or
        would lose digits; or `labels` has another length or holds values below -1, or
        none that int32 has.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import make_pool
      >>> pool = make_pool(jnp.zeros([6, 2]))
      >>> int(pool.is_available.sum())
      6
    """
    inputs = as_inputs(inputs)
    size = num_rows(inputs)
    known = np.full(size, UNLABELLED) if labels is None else np.asarray(labels)
    check_labels(known, size, unlabelled)
    if labels is not None:
        known = np.where(known == unlabelled, UNLABELLED, known.astype(np.int64))
    return _spread(inputs, known.astype(np.int32), capacity, mesh)


def regression_pool(
    inputs: Any,
    targets: ArrayLike | None = None,
    *,
    capacity: int | None = None,
    mesh: Mesh | None = None,
) -> Pool:
    """Returns a pool whose labels are real numbers, NaN where nobody has answered.

    Args:
      inputs: what the model takes: an array `[N, ...]` in any dtype, or a dict (or
        another pytree) of such arrays, see `jaxal.pools.inputs.as_inputs`.
      targets: `[N]` numbers, NaN where nobody has answered; by default nobody has.
      capacity: rows there will ever be, for `extend`; by default as many as there are.
      mesh: where the rows live, by default `pool_mesh()`, every device there is.

    Returns:
      A `Pool` with float32 labels, else as `make_pool`. Oracles for it answer in
      floating point, with NaN for a row they will not label.

    Raises:
      ValueError: as `make_pool`; `targets` has another length, holds infinity or
        what float32 has no number for, or would lose digits in it.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import regression_pool
      >>> pool = regression_pool(jnp.zeros([3, 2]), jnp.array([-1.0, jnp.nan, 0.5]))
      >>> pool.is_labelled[:3].tolist()
      [True, False, True]
    """
    inputs = as_inputs(inputs)
    size = num_rows(inputs)
    known = np.full(size, np.nan) if targets is None else np.asarray(targets)
    check_targets(known, size)
    return _spread(inputs, held("targets", known, np.float32), capacity, mesh)


def unanswered(dtype: Any) -> float | int:
    """Returns the label of a row nobody has labelled: -1, or NaN for real numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.pools.pool import unanswered
      >>> unanswered(jnp.int32), unanswered(jnp.float32)
      (-1, nan)
    """
    return float("nan") if jnp.issubdtype(dtype, jnp.floating) else UNLABELLED


def is_answer(labels: Any) -> Any:
    """Returns which labels are answers, `[K]` bool, see `unanswered`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.pools.pool import is_answer
      >>> is_answer(jnp.array([2, -1])).tolist()
      [True, False]
    """
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return labels == labels  # NaN is the number that is not itself
    return labels != UNLABELLED


def as_labels(labels: Any) -> Any:
    """Returns answers as an array of int32 or float32, bool and JAX's as they are.

    Raises:
      ValueError: they are no numbers, or would lose digits.

    Example:
      >>> from jaxal.pools.pool import as_labels
      >>> as_labels([0.5, 1]).dtype
      dtype('float32')
    """
    if isinstance(labels, jax.Array):
        return labels
    found = np.asarray(labels)
    if not (found.dtype == bool or jnp.issubdtype(found.dtype, jnp.number)):
        raise ValueError(
            f"labels has dtype {found.dtype}, expected class numbers, or real numbers "
            "of a regression. jaxal.label_names numbers words."
        )
    is_real = jnp.issubdtype(found.dtype, jnp.floating)
    return held("labels", found, np.float32 if is_real else np.int32)


def _spread(
    inputs: Any, known: np.ndarray, capacity: int | None, mesh: Mesh | None
) -> Pool:
    size = num_rows(inputs)
    if capacity is not None and capacity < size:
        raise ValueError(
            f"capacity is {capacity}, expected at least the {size} rows there are."
        )
    mesh = pool_mesh() if mesh is None else mesh
    padded = -(-max(size, capacity or 0) // mesh.size) * mesh.size
    nobody: Any = np.zeros(padded, bool)
    pool = Pool(
        inputs=jax.tree.map(lambda leaf: pad_rows(leaf, padded), inputs),
        labels=pad_rows(known, padded, unanswered(known.dtype)),
        is_labelled=pad_rows(is_answer(known), padded, False),
        is_valid=pad_rows(np.ones(size, bool), padded, False),
        is_pending=nobody,
        is_spare=pad_rows(np.zeros(size, bool), padded, True),
    )
    return jax.device_put(pool, spread_over(mesh))


def check_labels(
    labels: np.ndarray, num_rows: int, unlabelled: int = UNLABELLED
) -> None:
    """Raises ValueError unless `labels` is `[num_rows]` classes, or -1."""
    if labels.shape != (num_rows,):
        raise ValueError(
            f"labels has shape {list(labels.shape)}, expected [{num_rows}], one a row "
            "of inputs. Use -1 for rows nobody has labelled."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels has dtype {labels.dtype}, expected integers: class numbers from 0 "
            "and -1 for rows nobody has labelled. jaxal.label_names makes them of "
            "names, None and NaN; real numbers go into regression_pool."
        )
    is_out = (labels < UNLABELLED) | (labels > np.iinfo(np.int32).max)
    if (odd := labels[is_out & (labels != unlabelled)]).size:
        raise ValueError(
            f"labels holds {odd[0]}; classes count from 0 in int32, -1 is unlabelled."
        )


def check_targets(targets: np.ndarray, num_rows: int) -> None:
    """Raises ValueError unless `targets` is `[num_rows]` real numbers, or NaN."""
    if targets.shape != (num_rows,):
        raise ValueError(
            f"targets has shape {list(targets.shape)}, expected [{num_rows}], one "
            "number a row of inputs. Use NaN for rows nobody has labelled."
        )
    if np.issubdtype(targets.dtype, np.complexfloating) or not np.issubdtype(
        targets.dtype, np.number
    ):
        raise ValueError(f"targets has dtype {targets.dtype}, expected real numbers.")
    with np.errstate(over="ignore"):
        is_infinite = np.isinf(targets.astype(np.float32))
    if is_infinite.any():
        raise ValueError(
            f"targets holds {int(is_infinite.sum())} numbers that float32 has not. "
            "Remove those rows, or transform the targets."
        )
