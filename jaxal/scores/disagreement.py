"""How much posterior samples disagree: `[S, ..., C]` logits to one number a row."""

import jax.numpy as jnp
from jax import Array

from jaxal.modes import any_promotion
from jaxal.scores import samples
from jaxal.scores.classes import (
    accumulated,
    entropy_of_probabilities,
    of_samples,
)


@of_samples
def bald(sample_logits: Array) -> Array:
    """Mutual information between the label and the model's parameters, in nats.

    I(y; w) = H(mean_s p_s) - mean_s H(p_s), from 0 (the samples agree) to
    log min(S, C). High where each sample is sure of something else.

    Args:
      sample_logits: `[S, ..., C]` logits or log-probabilities of `S` posterior samples.

    Returns:
      `[...]` scores in the dtype of `sample_logits`; sums are kept in float32 or wider.

    Raises:
      TypeError: `sample_logits` is not floating point.
      ValueError: an axis is missing, usually that of the samples, or empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import bald
      >>> p = jnp.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
      >>> bald(jnp.log(p)).round(4)
      Array([0.6931, 0.    ], dtype=float32)

    Reference:
      Houlsby, Huszar, Ghahramani and Lengyel, "Bayesian Active Learning for
      Classification and Preference Learning", 2011. https://arxiv.org/abs/1112.5745
    """
    mean, expected = samples.consensus(accumulated(sample_logits))
    # Mutual information is never negative; rounding is.
    score = jnp.maximum(entropy_of_probabilities(mean) - expected, 0)
    return score[..., 0].astype(sample_logits.dtype)


@of_samples
def consensus_kl(sample_logits: Array) -> Array:
    """Mean divergence of the committee's members from their consensus, in nats.

    mean_s KL(p_s || mean_t p_t), the Jensen-Shannon divergence of the members. It
    equals `bald` identically, which is how it is computed; two literatures named it.

    Args:
      sample_logits: `[S, ..., C]` logits or log-probabilities of `S` members.

    Returns:
      `[...]` scores in the dtype of `sample_logits`; sums are kept in float32 or wider.

    Raises:
      TypeError: `sample_logits` is not floating point.
      ValueError: an axis is missing, usually that of the samples, or empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import consensus_kl
      >>> consensus_kl(jnp.log(jnp.array([[[0.8, 0.2]], [[0.2, 0.8]]]))).round(4)
      Array([0.1927], dtype=float32)

    Reference:
      McCallum and Nigam, "Employing EM and Pool-Based Active Learning for Text
      Classification", ICML 1998.
      https://www.cs.cmu.edu/~knigam/papers/emactive-icml98.pdf
    """
    return bald(sample_logits)


@of_samples
def expected_entropy(sample_logits: Array) -> Array:
    """Mean entropy of the samples, in nats: the part of the doubt more data won't cure.

    mean_s H(p_s), from 0 to log C.

    Args:
      sample_logits: `[S, ..., C]` logits or log-probabilities of `S` posterior samples.

    Returns:
      `[...]` scores in the dtype of `sample_logits`; sums are kept in float32 or wider.

    Raises:
      TypeError: `sample_logits` is not floating point.
      ValueError: an axis is missing, usually that of the samples, or empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import expected_entropy
      >>> expected_entropy(jnp.log(jnp.array([[[0.5, 0.5]], [[1.0, 0.0]]]))).round(4)
      Array([0.3466], dtype=float32)

    Reference:
      Depeweg, Hernandez-Lobato, Doshi-Velez and Udluft, "Decomposition of Uncertainty
      in Bayesian Deep Learning", ICML 2018. https://arxiv.org/abs/1710.07283
    """
    _, expected = samples.consensus(accumulated(sample_logits))
    return expected[..., 0].astype(sample_logits.dtype)


@of_samples
def consensus_entropy(sample_logits: Array) -> Array:
    """Entropy of the mean prediction, in nats: all of the doubt.

    H(mean_s p_s) = `bald` + `expected_entropy`, from 0 to log C.

    Args:
      sample_logits: `[S, ..., C]` logits or log-probabilities of `S` posterior samples.

    Returns:
      `[...]` scores in the dtype of `sample_logits`; sums are kept in float32 or wider.

    Raises:
      TypeError: `sample_logits` is not floating point.
      ValueError: an axis is missing, usually that of the samples, or empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import consensus_entropy
      >>> consensus_entropy(jnp.log(jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]]))).round(4)
      Array([0.6931], dtype=float32)

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017. https://arxiv.org/abs/1703.02910
    """
    mean, _ = samples.consensus(accumulated(sample_logits))
    return entropy_of_probabilities(mean)[..., 0].astype(sample_logits.dtype)


@of_samples
def mean_std(sample_logits: Array) -> Array:
    """Standard deviation of a class's probability over the samples, mean over classes.

    (1/C) sum_c sqrt(E_s[p_sc^2] - E_s[p_sc]^2), from 0 (the samples agree) to 1/2.

    Args:
      sample_logits: `[S, ..., C]` logits or log-probabilities of `S` posterior samples.

    Returns:
      `[...]` scores in the dtype of `sample_logits`; sums are kept in float32 or wider.

    Raises:
      TypeError: `sample_logits` is not floating point.
      ValueError: an axis is missing, usually that of the samples, or empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import mean_std
      >>> mean_std(jnp.log(jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])))
      Array([0.5], dtype=float32)

    Reference:
      Kampffmeyer, Salberg and Jenssen, "Semantic Segmentation of Small Objects and
      Modeling of Uncertainty in Urban Remote Sensing Images Using Deep Convolutional
      Neural Networks", CVPR Workshops 2016. https://doi.org/10.1109/CVPRW.2016.90
    """
    deviation = samples.mean_deviation(accumulated(sample_logits))
    return deviation.astype(sample_logits.dtype)


@any_promotion
@of_samples
def log_mean_prob(sample_logits: Array) -> Array:
    """Log-probability of each class under the mean prediction.

    log((1/S) sum_s p_sc), computed in the log domain, so that classes too unlikely for
    a float keep a finite log-probability. The result is logits of the consensus: any
    score of a single network applies to it.

    Args:
      sample_logits: `[S, ..., C]` logits or log-probabilities of `S` posterior samples.

    Returns:
      `[..., C]` log-probabilities in the dtype of `sample_logits`; -inf for a class
      that has probability zero in every sample.

    Raises:
      TypeError: `sample_logits` is not floating point.
      ValueError: an axis is missing, usually that of the samples, or empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import log_mean_prob
      >>> jnp.exp(log_mean_prob(jnp.log(jnp.array([[[1.0, 0.0]], [[0.5, 0.5]]]))))
      Array([[0.75, 0.25]], dtype=float32)

    Reference:
      Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive
      Uncertainty Estimation using Deep Ensembles", NeurIPS 2017.
      https://arxiv.org/abs/1612.01474
    """
    return samples.log_mean(accumulated(sample_logits)).astype(sample_logits.dtype)
