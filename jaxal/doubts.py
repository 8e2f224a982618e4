"""What outputs are doubted for: samples that agree, probabilities as logits."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

APART = (
    "Use a network with dropout and mc_dropout(model), an ensemble, or "
    "laplace(model) as posterior."
)
EQUAL = (
    "All posterior samples are equal on every row, and nothing was selected: what they "
    f"disagree on is rounding. {APART}"
)
# Samples that are nearer than so many units in the last place are equal.
_ULPS = 8
_SIMPLEX = 1e-3  # off which probabilities in half precision sum to one
_FEW = 8  # entries of each axis, which tell probabilities from logits


def is_bad(logits: Array) -> Array:
    """Returns which outputs are NaN or +inf; -inf is a probability of zero."""
    return jnp.isnan(logits) | (logits == jnp.inf)


def are_apart(samples: Array) -> Array:
    """Returns whether samples `[S, B, C]` of a row differ by more than rounding."""
    low, high = samples.min(axis=0), samples.max(axis=0)
    scale = jnp.maximum(jnp.abs(low), jnp.abs(high))
    is_near = high - low <= _ULPS * jnp.finfo(samples.dtype).eps * scale
    is_equal = jnp.where(jnp.isfinite(scale), is_near, low == high)
    return ~is_equal.all(axis=-1)


def is_simplex(logits: Array) -> Array:
    """Returns which rows `[..., C]` are probabilities: no logs of some sum to one."""
    wide = logits.astype(jnp.float32)
    is_one = jnp.abs(wide.sum(axis=-1) - 1) < _SIMPLEX
    return is_one & (wide >= 0).all(axis=-1) & jnp.bool_(logits.shape[-1] > 1)


def check_apart(samples: Array, is_used: Array, is_labelled: Array) -> None:
    """Raises where posterior samples `[S, N, C]` agree on every row that is used.

    A network that has seen no label may well be constant: then nothing is known yet.

    Args:
      samples: of each row; where they are traced, their number alone is known.
      is_used: `[N]` bool.
      is_labelled: `[N]` bool.

    Raises:
      ValueError: there is one sample, or they are equal but for rounding.
    """
    if samples.shape[0] < 2:
        raise ValueError(
            f"samples holds {samples.shape[0]} posterior sample, expected at least 2 "
            f"that disagree. {APART}"
        )
    if any(isinstance(x, jax.core.Tracer) for x in (samples, is_used, is_labelled)):
        return
    with jax.ensure_compile_time_eval():  # what is known is so within a trace too
        if bool(_all_agree(samples, is_used, is_labelled)):
            raise ValueError(EQUAL)


@jax.jit
def _all_agree(samples: Array, is_used: Array, is_labelled: Array) -> Array:
    return is_labelled.any() & ~(are_apart(samples) & is_used).any()


def warn_of_probabilities(name: str, logits: Any) -> None:
    """Warns where known logits `[..., C]` look like probabilities, at a few rows."""
    is_known = not isinstance(logits, jax.core.Tracer) and jnp.size(logits) > 0
    if is_known and getattr(logits, "is_fully_addressable", True):
        with jax.ensure_compile_time_eval():  # what is known is so within a trace too
            if bool(_are_simplex(logits)):
                say_probabilities(name, 5)


@jax.jit
def _are_simplex(logits: Array) -> Array:
    return is_simplex(logits[(slice(_FEW),) * (logits.ndim - 1)]).all()


def say_probabilities(name: str, stacklevel: int) -> None:
    """Warns of probabilities that are read as logits."""
    warnings.warn(
        f"{name} are between 0 and 1 and sum to one on every row: they look like "
        "probabilities, and are read as logits, by which all classes are about equally "
        "likely. Return logits, or jnp.log of the probabilities.",
        stacklevel=stacklevel,
    )
