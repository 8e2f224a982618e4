"""Batch statistics of weights that no step has seen: averaged ones."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.types import Variables


def refreshed(
    after: Callable[[Array | int, Variables], Variables],
    variables: Variables,
    num_batches: Array,
    is_known: Array,
) -> Variables:
    """Returns variables whose batch statistics are means over one pass.

    The running averages at hand belong to other weights, and a model moves them by a
    small step only, `new = m old + (1 - m) batch`. So every batch starts from the same
    old ones, `m` is read off the model, and the equation solved for the batch.

    Args:
      after: what the model makes of variables when it sees batch i.
      variables: weights, and statistics that are not theirs.
      num_batches: [] int32, batches of a pass.
      is_known: [] bool; where nothing is labelled, what batches say means nothing.
    """
    carried = {name: tree for name, tree in variables.items() if name != "params"}

    def seen(i: Array | int, carried: Variables) -> Variables:
        updated = after(i, {**variables, **carried})
        return {name: updated[name] for name in carried}

    def add(i: Array, total: Variables) -> Variables:
        return jax.tree.map(jnp.add, total, seen(i, carried))

    first = seen(0, carried)
    moved = seen(0, jax.tree.map(_shifted, carried, first))
    total = jax.lax.fori_loop(1, num_batches, add, first)
    means = jax.tree.map(
        lambda old, first, moved, total: jnp.where(
            is_known, _batch_mean(old, first, moved, total / num_batches), old
        ).astype(old.dtype),
        carried,
        first,
        moved,
        total,
    )
    return {**variables, **means}


def _shifted(old: Array, new: Array) -> Array:
    """Elsewhere, if training changes it at all: the model may use what it keeps."""
    shift = jnp.any(new != old) * (jnp.abs(old) + 1)
    return old + shift.astype(old.dtype)


def _batch_mean(old: Array, new: Array, moved: Array, mean: Array) -> Array:
    """What the batches said, from `new = m old + (1 - m) batch`.

    `moved` is what `new` becomes after `_shifted`. What does not follow the equation
    with one `m` for all elements is no running average, and stays as it is.
    """
    if not jnp.issubdtype(old.dtype, jnp.floating):
        return old
    slopes = (moved - new) / (jnp.abs(old) + 1)
    m = slopes.mean()
    tolerance = max(1e-3, 4 * float(jnp.finfo(old.dtype).eps))
    is_average = (jnp.abs(slopes - m) < tolerance).all() & (m >= 0) & (m < 1 - 1e-5)
    is_average &= jnp.any(new != old)
    return jnp.where(
        is_average, old + (mean - old) / jnp.where(is_average, 1 - m, 1), old
    )
