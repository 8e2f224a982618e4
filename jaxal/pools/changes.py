"""What happens to a pool: answers, corrections, rows that go and rows that come.

All are pure functions of fixed shapes, for `jit`, `scan` and `vmap` too. Rows are
refused where values are known; where they are traced, a row that may not be changed is
left as it is, and so is one that is named twice.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxal import checks
from jaxal.pools.answers import as_selection, check_answers
from jaxal.pools.inputs import as_inputs, check_like, is_traced, num_rows
from jaxal.pools.pool import is_answer, unanswered
from jaxal.types import Inputs, Pool, Selection


def reveal(
    pool: Pool,
    indices: Selection | ArrayLike | Sequence[int],
    labels: ArrayLike | Sequence[Any],
    is_valid: ArrayLike | None = None,
    *,
    num_classes: int | None = None,
) -> Pool:
    """Returns the pool with some answers written down.

    Args:
      pool: the pool of `N` rows.
      indices: `[K]` rows that were asked about, or a selection of them.
      labels: `[K]` answers, -1 where the oracle did not answer; NaN in regression.
      is_valid: `[K]` bool, rows to be ignored where False; by default none is.
      num_classes: `C`, where it is known: answers beyond are none.

    Returns:
      The pool in which every valid, answered row is labelled, and none of the valid
      ones is waited for.

    Raises:
      ValueError: there are not `K` labels, one is no class (no real number in
        regression), or its row is none of the pool, named twice, labelled already or
        withdrawn.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import make_pool, reveal
      >>> pool = make_pool(jnp.zeros([4, 2]))
      >>> answered = jnp.array([True, False])
      >>> reveal(pool, jnp.array([2, 0]), jnp.array([1, 1]), answered).labels
      Array([-1, -1,  1, -1], dtype=int32)
    """
    asked = as_selection(indices)
    if is_valid is not None:
        asked = asked._replace(is_valid=jnp.asarray(is_valid))
    labels = check_answers(pool, asked, labels, num_classes)
    indices, is_valid = asked.indices, jnp.asarray(asked.is_valid)
    is_open = pool.is_valid & ~pool.is_labelled
    why = (
        "are labelled already (see jaxal.correct), withdrawn, or not in use. Was this "
        "told twice, or does it belong to another state?"
    )
    rows = _places(pool, indices, is_valid & is_answer(labels), is_open, why)
    return _write(wait_for(pool, indices, is_valid, False), rows, labels)


def correct(pool: Pool, rows: ArrayLike, labels: ArrayLike) -> Pool:
    """Returns the pool in which labelled rows have other labels.

    Args:
      pool: of `N` rows.
      rows: `[K]` numbers of labelled rows.
      labels: `[K]` what they are now; -1, or NaN in regression, leaves a label alone.

    Raises:
      ValueError: as `reveal`; or a row is not labelled.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import correct, make_pool
      >>> pool = make_pool(jnp.zeros([3, 2]), jnp.array([0, -1, 1]))
      >>> correct(pool, [2], [0]).labels[:3].tolist()
      [0, -1, 0]
    """
    labels = check_answers(pool, as_selection(rows), labels, None)
    why = "have no label that could be corrected. See jaxal.reveal."
    rows = _places(pool, rows, is_answer(labels), pool.is_labelled, why)
    return _write(pool, rows, labels)


def forget(pool: Pool, rows: ArrayLike) -> Pool:
    """Returns the pool in which rows have no label any more, and may be asked again.

    Args:
      pool: of `N` rows.
      rows: `[K]` numbers of labelled rows.

    Raises:
      ValueError: a row is none of the pool, named twice, or not labelled.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import forget, make_pool
      >>> pool = make_pool(jnp.zeros([3, 2]), jnp.array([0, -1, 1]))
      >>> forget(pool, [2]).is_labelled[:3].tolist()
      [True, False, False]
    """
    why = "have no label that could be forgotten."
    return _unlabel(pool, _places(pool, rows, True, pool.is_labelled, why))


def withdraw(pool: Pool, rows: ArrayLike) -> Pool:
    """Returns the pool without some rows: never asked, never trained on again.

    They keep their places, so that other rows keep their numbers; labels they had are
    forgotten.

    Args:
      pool: of `N` rows.
      rows: `[K]` numbers of rows.

    Raises:
      ValueError: a row is none of the pool, named twice, or withdrawn already.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import make_pool, withdraw
      >>> pool = make_pool(jnp.zeros([3, 2]), jnp.array([0, -1, -1]))
      >>> pool = withdraw(pool, [0, 2])
      >>> pool.is_available[:3].tolist(), pool.is_labelled[:3].tolist()
      ([False, True, False], [False, False, False])
    """
    rows = _places(pool, rows, True, pool.is_valid, "are withdrawn already.")
    pool = _unlabel(pool, rows)
    return pool._replace(is_valid=_set(pool.is_valid, rows, False))


def extend(
    pool: Pool, inputs: Inputs, labels: ArrayLike | None = None
) -> tuple[Pool, Array]:
    """Returns the pool with new rows in places that were spare.

    Shapes stay as they are, so a loop compiles nothing when rows arrive.

    Args:
      pool: made with a `capacity`.
      inputs: `M` rows, as those the pool was made of.
      labels: `[M]` labels they come with, -1 (NaN in regression) where none; by
        default none has one.

    Returns:
      The pool, and the `[M]` int32 numbers of the new rows in it; N, where values are
      traced, for a row that found no place.

    Raises:
      ValueError: rows are of another kind, or there is no room.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import extend, make_pool
      >>> pool = make_pool(jnp.zeros([3, 2]), capacity=8)
      >>> pool, rows = extend(pool, jnp.ones([2, 2]))
      >>> rows.tolist(), int(pool.is_available.sum())
      ([3, 4], 5)
    """
    if not is_traced(inputs):
        inputs = as_inputs(inputs, may_be_empty=True)
    check_like(inputs, pool.inputs)
    size, is_spare = num_rows(inputs), pool.is_spare
    room = 0 if is_spare is None else is_spare.shape[0]
    if is_spare is not None and not is_traced(is_spare):
        with jax.ensure_compile_time_eval():  # the rest may be traced
            room = int(is_spare.sum())
    if is_spare is None or room < size:
        raise ValueError(
            f"{size} rows arrived, and the pool has room for {room}. Reserve it when "
            "the pool is made: make_pool(inputs, capacity=...)."
        )
    (rows,) = jnp.nonzero(is_spare, size=size, fill_value=is_spare.shape[0])
    rows = rows.astype(jnp.int32)
    pool = pool._replace(
        inputs=jax.tree.map(
            lambda old, new: _set(old, rows, jnp.asarray(new)), pool.inputs, inputs
        ),
        is_valid=_set(pool.is_valid, rows, True),
        is_spare=_set(is_spare, rows, False),
    )
    return (pool if labels is None else reveal(pool, rows, labels)), rows


def wait_for(
    pool: Pool, rows: ArrayLike, is_valid: ArrayLike, is_asked: bool = True
) -> Pool:
    """Returns the pool in which rows `[K]` are waited for, or no longer are.

    A row that was asked and has no answer yet is not asked again.
    """
    if pool.is_pending is None:
        return pool
    rows, size = jnp.asarray(rows), pool.labels.shape[0]
    rows = jnp.where(jnp.asarray(is_valid) & (rows >= 0), rows, size)
    return pool._replace(is_pending=_set(pool.is_pending, rows, is_asked))


def _places(
    pool: Pool, rows: ArrayLike, is_meant: Any, is_allowed: Array, why: str
) -> Array:
    """Rows `[K]` that are meant and may be changed; N, which nothing is, for others."""
    size = pool.labels.shape[0]
    rows = as_selection(rows).indices
    is_meant = jnp.broadcast_to(jnp.asarray(is_meant), rows.shape)
    if not is_traced(pool.labels, is_allowed, rows, is_meant):
        # On the host: a mask's size is data, for each of which a device would compile.
        checks.check_rows("rows", rows[np.asarray(is_meant)], size)
        is_bad = np.asarray(is_meant & ~is_allowed[jnp.clip(rows, 0, size - 1)])
        if is_bad.any():
            raise ValueError(f"Rows {rows[is_bad].tolist()} {why}")
        return jnp.where(is_meant, rows, size)
    rows = jnp.where(is_meant & (rows >= 0), rows, size)
    order = jnp.argsort(rows)
    is_twin = jnp.diff(rows[order], append=-1) == 0
    is_twin |= jnp.roll(is_twin, 1)
    is_good = is_allowed.at[rows].get(mode="fill", fill_value=False)
    return jnp.where(is_good & ~is_twin[jnp.argsort(order)], rows, size)


def _write(pool: Pool, rows: Array, labels: Array) -> Pool:
    return pool._replace(
        labels=_set(pool.labels, rows, labels.astype(pool.labels.dtype)),
        is_labelled=_set(pool.is_labelled, rows, True),
    )


def _unlabel(pool: Pool, rows: Array) -> Pool:
    nothing = jnp.asarray(unanswered(pool.labels.dtype), pool.labels.dtype)
    pool = wait_for(pool, rows, True, False)
    return pool._replace(
        labels=_set(pool.labels, rows, nothing),
        is_labelled=_set(pool.is_labelled, rows, False),
    )


def _set(values: Array, rows: Array, new: Any) -> Array:
    # An index past the end is dropped, so rows that may not be changed are not. Labels
    # of a regression are NaN where nobody has answered, which is no fault.
    with jax.debug_nans(False):
        return values.at[rows].set(new, mode="drop")
