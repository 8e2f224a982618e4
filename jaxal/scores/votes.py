"""How much posterior samples disagree about the winner, whatever their confidence."""

from jax import Array

from jaxal.scores import samples
from jaxal.scores.classes import (
    accumulated,
    entropy_of_probabilities,
    largest,
    of_samples,
)


@of_samples
def vote_entropy(sample_logits: Array) -> Array:
    """Entropy of the samples' votes, in nats.

    -sum_c (V_c / S) log(V_c / S), where V_c samples rank class c first; a tie within
    a sample goes to the lowest class. From 0 (unanimous) to log min(S, C).

    Args:
      sample_logits: `[S, ..., C]` logits or log-probabilities of `S` posterior samples.

    Returns:
      `[...]` scores in the dtype of `sample_logits`.

    Raises:
      TypeError: `sample_logits` is not floating point.
      ValueError: an axis is missing, usually that of the samples, or empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import vote_entropy
      >>> logits = jnp.array([[[3.0, 0.0]], [[0.0, 1.0]]])
      >>> vote_entropy(logits).round(4)
      Array([0.6931], dtype=float32)

    Reference:
      Dagan and Engelson, "Committee-Based Sampling For Training Probabilistic
      Classifiers", ICML 1995. https://doi.org/10.1016/B978-1-55860-377-6.50027-X
    """
    counts = samples.vote_counts(accumulated(sample_logits))
    shares = [count / sample_logits.shape[0] for count in counts]
    found = entropy_of_probabilities(shares)[..., 0].astype(sample_logits.dtype)
    return samples.unless_nan(found, sample_logits, (0, -1))


@of_samples
def variation_ratio(sample_logits: Array) -> Array:
    """Share of the samples that do not vote for the most popular class.

    1 - max_c V_c / S, where V_c samples rank class c first; a tie within a sample goes
    to the lowest class. From 0 (unanimous) to 1 - 1/min(S, C).

    Args:
      sample_logits: `[S, ..., C]` logits or log-probabilities of `S` posterior samples.

    Returns:
      `[...]` scores in the dtype of `sample_logits`.

    Raises:
      TypeError: `sample_logits` is not floating point.
      ValueError: an axis is missing, usually that of the samples, or empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import variation_ratio
      >>> logits = jnp.array([[[3.0, 0.0]], [[0.0, 1.0]], [[2.0, 1.0]], [[5.0, 1.0]]])
      >>> variation_ratio(logits)
      Array([0.25], dtype=float32)

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017 (after Freeman, 1965). https://arxiv.org/abs/1703.02910
    """
    counts = samples.vote_counts(accumulated(sample_logits))
    minority = sample_logits.shape[0] - largest(counts)[..., 0]
    found = (minority / sample_logits.shape[0]).astype(sample_logits.dtype)
    return samples.unless_nan(found, sample_logits, (0, -1))
