"""Whether what a fit ended with may be asked what to buy."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

JUDGED_ROWS = 512
SHORT_FIT = 100  # fewer steps need not have ended anywhere, only not have made it worse
_TOLERANCE = 1.05, 0.02


class Verdict(NamedTuple):
    """What a fit is worth on the rows it was trained on."""

    is_sound: Array  # [] bool
    final_loss: Array  # []
    naive_loss: Array  # [] of the best outputs that do not look at inputs, NaN: unknown


def judge(
    params: Any,
    outputs: Array,
    labels: Array,
    is_known: Array,
    weights: Array,
    *,
    loss: Callable[[Array, Array], Array],
    guess: Callable[[Array, Array, int], Array] | None,
    first_loss: Array,
    num_steps: Array,
) -> Verdict:
    """Returns whether a fit is finite, and better than guessing blindly.

    Args:
      params: trained; NaN or infinity among them is unsound.
      outputs: `[B, C]` on rows it was trained on.
      labels: `[B]` of these.
      is_known: `[B]` bool, rows that count. Without any, every fit is sound.
      weights: `[B]`, how much they do.
      loss: of a task.
      guess: of a task; None: a fit only has to be finite.
      first_loss: of the fit's first step.
      num_steps: taken. A fit of fewer than 100 may be worse than guessing as long as it
        is better than it was.
    """
    labels = jnp.where(is_known, labels, jnp.zeros_like(labels))
    weights = jnp.where(is_known, weights, 0).astype(outputs.dtype)

    def mean_loss(outputs: Array) -> Array:
        losses = jnp.where(is_known, loss(outputs, labels), 0)
        return (weights * losses).sum() / jnp.maximum(is_known.sum(), 1)

    final, naive = mean_loss(outputs), jnp.full([], jnp.nan, outputs.dtype)
    is_worse = jnp.zeros([], bool)
    if guess is not None:
        blind = guess(labels, weights, outputs.shape[-1])
        naive = mean_loss(jnp.broadcast_to(blind[None], outputs.shape))
        factor, term = _TOLERANCE
        is_worse = final > naive + (factor - 1) * jnp.abs(naive) + term
        is_worse &= (num_steps >= SHORT_FIT) | ~(final < first_loss)
    # Outputs that are NaN on some rows are named by the look at the pool, with their
    # number; here they only must not be NaN on all.
    losses = jnp.where(is_known, loss(outputs, labels), jnp.nan)
    is_odd = is_known & jnp.isnan(losses) & jnp.isfinite(outputs).all(-1)  # no class
    is_finite = jnp.isfinite(losses).any() & ~is_odd.any() & _all_finite(params)
    is_sound = (is_finite & ~is_worse) | ~is_known.any()
    # Three digits, which people read: programs that differ round in other places.
    final, naive = (jax.lax.reduce_precision(x, 8, 10) for x in (final, naive))
    return Verdict(is_sound, final, naive)


def class_frequencies(labels: Array, weights: Array, num_classes: int) -> Array:
    """Returns log-frequencies `[C]` of labels, one more of each class than was seen.

    Args:
      labels: `[B]` integers.
      weights: `[B]`, 0 for rows that do not count.
      num_classes: `C`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.training.soundness import class_frequencies
      >>> found = class_frequencies(jnp.array([0, 0, 1]), jnp.ones(3), 2)
      >>> [round(float(x), 2) for x in jnp.exp(found)]
      [0.6, 0.4]
    """
    is_class = jax.nn.one_hot(labels, num_classes, dtype=weights.dtype)
    counts = 1 + weights @ is_class
    return jnp.log(counts / counts.sum())


def _all_finite(tree: Any) -> Array:
    leaves = [jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]
    return jnp.stack(leaves).all() if leaves else jnp.ones([], bool)
