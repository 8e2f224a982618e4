"""What an oracle may answer, asked before anything is written down."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxal import checks
from jaxal.modes import held
from jaxal.pools.inputs import is_traced
from jaxal.pools.pool import is_answer, unanswered
from jaxal.types import Pool, Selection

_CURE = (
    "Say -1 where there is no answer, and number the classes from 0: jaxal.label_names "
    "does. Nothing was written down; answer again."
)
_KINDS = (
    "class numbers, see jaxal.label_names. Real numbers go into a regression_pool.",
    "real numbers such as 3.0, NaN for no answer. Classes go into make_pool.",
)


def is_regression(pool: Pool) -> bool:
    """Whether labels are real numbers, NaN for none, rather than classes."""
    return jnp.issubdtype(pool.labels.dtype, jnp.floating)


def as_selection(asked: Selection | ArrayLike | Sequence[int]) -> Selection:
    """Returns what was asked, a selection or rows `[K]` by their numbers.

    Where values are known it is on the host, so that it goes with a pool on any device.
    """
    if not isinstance(asked, Selection):
        rows: Any = asked if is_traced(asked) else np.asarray(asked)
        rows = rows if rows.size else rows.astype(np.int32)  # of [] nothing is known
        # On the host: under jax_debug_nans no program may return NaN.
        scores: Any = np.full(rows.shape, np.nan, np.float32)
        asked = Selection(rows, scores, jnp.ones(rows.shape, bool))
    return asked if is_traced(asked) else jax.tree.map(np.asarray, asked)


def without_blanks(selection: Selection) -> Selection:
    """Returns the valid rows alone, where values are known: a list of files has no N.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import Selection
      >>> from jaxal.pools.answers import without_blanks
      >>> asked = Selection(jnp.array([4, 5]), jnp.zeros(2), jnp.array([True, False]))
      >>> without_blanks(asked).indices.tolist()
      [4]
    """
    if is_traced(selection) or np.asarray(selection.is_valid).all():
        return selection
    return jax.tree.map(lambda x: x[np.asarray(selection.is_valid)], selection)


def check_answers(
    pool: Pool,
    selection: Selection,
    labels: ArrayLike | Sequence[Any],
    num_classes: int | None,
) -> Array:
    """Returns the answers `[K]` as an array, or raises what is wrong with them.

    Where values are traced, an answer that would be refused is none.
    """
    is_real, dtype = is_regression(pool), pool.labels.dtype
    found: Any = labels if is_traced(labels) else np.asarray(labels)
    found = found if found.size else found.astype(dtype)
    if found.shape != selection.indices.shape:
        raise ValueError(
            f"labels has shape {list(found.shape)}, expected "
            f"{list(selection.indices.shape)}: one answer for each selected row, -1 "
            "where there is none."
        )
    if not jnp.issubdtype(found.dtype, jnp.floating if is_real else jnp.integer):
        raise ValueError(f"labels has dtype {found.dtype}, expected {_KINDS[is_real]}")
    if not is_traced(selection.is_valid, found):
        if is_real:
            found = held("labels", found, dtype, may_overflow=True)
        _refuse_odd(found[np.asarray(selection.is_valid)], num_classes)
        return jnp.asarray(found, dtype)
    top = jnp.inf if is_real or num_classes is None else num_classes
    is_odd = jnp.isinf(found) if is_real else (found < 0) | (found >= top)
    return jnp.where(is_odd, unanswered(dtype), found).astype(dtype)


def _refuse_odd(labels: np.ndarray, num_classes: int | None) -> None:
    answers = labels[is_answer(labels)]
    if np.issubdtype(answers.dtype, np.floating):
        if np.isinf(answers).any():
            raise ValueError(
                "labels holds infinity, expected numbers, or NaN for no answer. "
                "Nothing was written down; answer again."
            )
        return
    top = np.iinfo(np.int32).max if num_classes is None else num_classes
    checks.check_classes("labels", answers, top, _CURE)
