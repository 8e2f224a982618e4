"""How unsure one network is of each row: `[..., C]` logits to one number a row."""

import jax.numpy as jnp
from jax import Array

from jaxal.scores.classes import (
    accumulated,
    entropy_of,
    exponentials,
    of_logits,
    two_largest,
)


@of_logits
def entropy(logits: Array) -> Array:
    """Entropy of the predicted class, in nats.

    H(p) = -sum_c p_c log p_c with p = softmax(logits), from 0 (certain) to log C
    (uniform). Classes of probability zero contribute nothing.

    Args:
      logits: `[..., C]` logits or log-probabilities. -inf is a class of probability
        zero; a row with nothing but -inf is no distribution and gives NaN.

    Returns:
      `[...]` entropies in the dtype of `logits`; sums are kept in float32 or wider.

    Raises:
      TypeError: `logits` is not floating point.
      ValueError: `logits` has no class axis, or an empty one.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import entropy
      >>> logits = jnp.log(jnp.array([[0.5, 0.5], [1.0, 0.0]]))
      >>> entropy(logits).round(4)
      Array([0.6931, 0.    ], dtype=float32)

    Reference:
      Shannon, "A Mathematical Theory of Communication", 1948.
      https://doi.org/10.1002/j.1538-7305.1948.tb01338.x
    """
    x = accumulated(logits)
    return entropy_of(exponentials(x))[..., 0].astype(logits.dtype)


@of_logits
def margin(logits: Array) -> Array:
    """How close the two likeliest classes are: 1 - (p_1 - p_2).

    p_1 and p_2 are the largest and second largest probability, so the score runs from
    0 (certain) to 1 (tied). Smallest-margin sampling, turned so that higher is better.

    Args:
      logits: `[..., C]` logits or log-probabilities. -inf is a class of probability
        zero; a row with nothing but -inf is no distribution and gives NaN.

    Returns:
      `[...]` scores in `[0, 1]`, in the dtype of `logits`.

    Raises:
      TypeError: `logits` is not floating point.
      ValueError: `logits` has no class axis, or an empty one.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import margin
      >>> margin(jnp.log(jnp.array([[0.5, 0.5, 0.0], [0.7, 0.2, 0.1]]))).round(4)
      Array([1. , 0.5], dtype=float32)

    Reference:
      Scheffer, Decomain and Wrobel, "Active Hidden Markov Models for Information
      Extraction", 2001. https://doi.org/10.1007/3-540-44816-0_31
    """
    x = accumulated(logits)
    first, second = two_largest(x)
    gap = (1 - jnp.exp(second - first)) / exponentials(x).total
    return (1 - gap)[..., 0].astype(logits.dtype)


@of_logits
def least_confidence(logits: Array) -> Array:
    """How unlikely the likeliest class is: 1 - p_1.

    From 0 (certain) to 1 - 1/C (uniform).

    Args:
      logits: `[..., C]` logits or log-probabilities. -inf is a class of probability
        zero; a row with nothing but -inf is no distribution and gives NaN.

    Returns:
      `[...]` scores in the dtype of `logits`.

    Raises:
      TypeError: `logits` is not floating point.
      ValueError: `logits` has no class axis, or an empty one.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import least_confidence
      >>> least_confidence(jnp.log(jnp.array([[0.5, 0.5], [0.75, 0.25]]))).round(4)
      Array([0.5 , 0.25], dtype=float32)

    Reference:
      Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR
      1994. https://arxiv.org/abs/cmp-lg/9407020
    """
    terms = exponentials(accumulated(logits))
    return (1 - 1 / terms.total)[..., 0].astype(logits.dtype)
