"""What an oracle may answer, asked before anything is written down."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.pools.pool import UNLABELLED
from jaxal.types import Pool, Selection


def is_regression(pool: Pool) -> bool:
    """Whether labels are real numbers, NaN for none, rather than classes."""
    return jnp.issubdtype(pool.labels.dtype, jnp.floating)


def check_answers(
    pool: Pool, selection: Selection, labels: Array, num_classes: int | None
) -> Array:
    """Returns the answers `[K]` as an array, or raises what is wrong with them."""
    labels = jnp.asarray(labels)
    if labels.shape != selection.indices.shape:
        raise ValueError(
            f"labels has shape {list(labels.shape)}, expected "
            f"{list(selection.indices.shape)}: one answer for each selected row, -1 "
            "where there is none."
        )
    kind = jnp.floating if is_regression(pool) else jnp.integer
    if not jnp.issubdtype(labels.dtype, kind):
        what = "real numbers" if kind is jnp.floating else "class numbers"
        raise ValueError(f"labels has dtype {labels.dtype}, expected {what}.")
    values = (pool.is_labelled, *selection, labels)
    if not any(isinstance(value, jax.core.Tracer) for value in values):
        _refuse_odd(pool, selection, labels, num_classes)
        _refuse_told_twice(pool, selection)
    return labels


def _refuse_odd(
    pool: Pool, selection: Selection, labels: Array, num_classes: int | None
) -> None:
    # On the host: a mask's size is data, which a device would compile for each time.
    answers = np.asarray(labels)[np.asarray(selection.is_valid)]
    is_real = is_regression(pool)
    is_odd = np.isinf(answers) if is_real else answers < UNLABELLED
    if num_classes is not None and not is_real:
        is_odd |= answers >= num_classes
    if is_odd.any():
        top = "C - 1" if num_classes is None else num_classes - 1
        fit = f"classes 0 to {top}, or -1" if not is_real else "numbers, or NaN"
        raise ValueError(
            f"labels holds {sorted(set(answers[is_odd].tolist()))}, expected {fit} for "
            "no answer. Nothing was written down; answer again."
        )


def _refuse_told_twice(pool: Pool, selection: Selection) -> None:
    is_known = np.asarray(pool.is_labelled[selection.indices])
    is_taken = is_known & np.asarray(selection.is_valid)
    if is_taken.any():
        rows = np.asarray(selection.indices)[is_taken].tolist()
        raise ValueError(
            f"Rows {rows} are labelled already. Was this selection told twice, or does "
            "it belong to another state?"
        )
