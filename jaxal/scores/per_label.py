"""Scores of classes for networks whose columns are sigmoids, label by label."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

COMBINATIONS: dict[str, Callable[..., Array]] = {
    "mean": jnp.mean,
    "sum": jnp.sum,
    "max": jnp.max,
}


def per_label(
    score: Callable[..., Array], combine: str | Callable[[Array], Array] = "mean"
) -> Callable[[Array], Array]:
    r"""Returns a score of classes as one of sigmoid columns.

    Label k is the choice between the logits $[0, z_k]$; what `score` says of each
    label is combined to one number a row.

    Args:
      score: of logits `[N, 2]`, such as `entropy`, or samples `[S, N, 2]`, such as
        `bald`, to `[N]`.
      combine: "mean", "sum", "max", or a function from `[N, K]` to `[N]`.

    Returns:
      A function from `[N, K]`, or `[S, N, K]`, to `[N]`: a strategy is
      `by_score(per_label(entropy), "logits")`.

    Raises:
      ValueError: `combine` is no such name.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import entropy, per_label
      >>> outputs = jnp.array([[0.0, 100.0], [100.0, 100.0]])
      >>> per_label(entropy, "max")(outputs).round(4)
      Array([0.6931, 0.    ], dtype=float32)
    """
    if not callable(combine) and combine not in COMBINATIONS:
        names = ", ".join(COMBINATIONS)
        raise ValueError(f"combine is {combine!r}, expected {names} or a function.")

    def scored(outputs: Array) -> Array:
        columns = jnp.stack([jnp.zeros_like(outputs), outputs], axis=-1)
        found = jax.vmap(score, in_axes=-2, out_axes=-1)(columns)
        if callable(combine):
            return combine(found)
        return COMBINATIONS[combine](found, axis=-1)

    return scored
