"""How long a gradient a label would cause, before anyone has given it."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.checks import check_floating, check_min_rank, of_classes
from jaxal.scores.classes import accumulated, check_logits


@of_classes
def expected_gradient_length(
    logits: Array, features: Array, *, bias: bool = True
) -> Array:
    """Expected length of the last layer's gradient, the label drawn from the model.

    The cross-entropy of class c has gradient (p - e_c) h^T for the last linear layer's
    weights and p - e_c for its bias, so the expectation has the closed form

        sum_c p_c ||p - e_c|| sqrt(||h||^2 + 1)     with the bias, the default,
        sum_c p_c ||p - e_c|| ||h||                 without it.

    Args:
      logits: `[..., C]` logits or log-probabilities.
      features: `[..., D]` inputs h of the last layer, for the same rows.
      bias: whether the last layer has a bias whose gradient counts.

    Returns:
      `[...]` expected lengths, at least 0, in the dtype of `logits`.

    Raises:
      TypeError: `logits` or `features` is not floating point.
      ValueError: an axis is missing, or the two have different rows.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import expected_gradient_length
      >>> logits, features = jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]])
      >>> length = expected_gradient_length(logits, features, bias=False)
      >>> print(f"{length[0]:.4f}")
      3.5355

    Reference:
      Settles, Craven and Ray, "Multiple-Instance Active Learning", NeurIPS 2007.
      https://papers.nips.cc/paper/2007/hash/a1519de5b5d44b31a01de013b9b51a80-Abstract.html
    """
    check_logits(logits)
    check_floating("features", features, "Pass what the last layer sees.")
    check_min_rank("features", features, 1, "[..., D]", "The last axis holds features.")
    rows, feature_rows = jnp.shape(logits)[:-1], jnp.shape(features)[:-1]
    if rows != feature_rows:
        raise ValueError(
            f"logits has rows {list(rows)} and features {list(feature_rows)}, expected "
            "the same. Pass logits and features of one call of the model."
        )
    return _expected_gradient_length(logits, features, bias)


@functools.partial(jax.jit, static_argnames="bias")
def _expected_gradient_length(logits: Array, features: Array, bias: bool) -> Array:
    h = accumulated(features)
    squared_length = jnp.sum(h * h, axis=-1) + (1 if bias else 0)
    length = _expected_residual(accumulated(logits)) * jnp.sqrt(squared_length)
    return length.astype(logits.dtype)


def _expected_residual(logits: Array) -> Array:
    """Expected length of p - e_c, `[...]`.

    ||p - e_c||^2 = (1 - p_c)^2 + sum_{j != c} p_j^2. For the likeliest class both
    terms are sums over the other classes: subtracting from 1 would lose them.
    """
    p = jax.nn.softmax(logits, axis=-1)
    index = jax.lax.broadcasted_iota(jnp.int32, p.shape, p.ndim - 1)
    is_top = index == jnp.argmax(p, axis=-1, keepdims=True)
    rest = jnp.where(is_top, 0, p)
    rest_squared = jnp.sum(rest * rest, axis=-1, keepdims=True)
    rest_total = jnp.sum(rest, axis=-1, keepdims=True)
    top_squared = jnp.sum(jnp.where(is_top, p * p, 0), axis=-1, keepdims=True)
    squared = jnp.where(
        is_top,
        rest_total**2 + rest_squared,
        (1 - p) ** 2 + jnp.maximum(top_squared + rest_squared - p * p, 0),
    )
    return jnp.sum(p * jnp.sqrt(squared), axis=-1)
