"""Regression: how unsure, and of what, Gaussian predictions of several networks are."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks


def predictive_variance(
    samples: Array, *, has_log_variance: bool | None = None
) -> Array:
    r"""Variance of the prediction, the networks' spread and their noise together.

    $\frac1S \sum_s \sigma_s^2 + \frac1S \sum_s (\mu_s - \bar\mu)^2$, the law of total
    variance; the first term is absent where networks predict means only.

    Args:
      samples: outputs of S networks: `[S, ..., 2]` with mean and log-variance,
        `[S, ..., 1]` with the mean, or means `[S, N]`.
      has_log_variance: whether the last of two columns is one, to be said of two: they
        might be two targets, which are scored one at a time.

    Returns:
      `[...]` variances, at least 0, in squared units of the target.

    Raises:
      ValueError: the shape is none of these, or two columns are not said to be mean and
        log-variance.
      TypeError: `samples` is not floating point.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import predictive_variance
      >>> predictive_variance(jnp.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
      [1.0, 0.0]

    Reference:
      Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive
      Uncertainty Estimation using Deep Ensembles", NeurIPS 2017.
      https://arxiv.org/abs/1612.01474. As a query: Cohn, Ghahramani and Jordan, "Active
      Learning with Statistical Models", JAIR 1996. https://arxiv.org/abs/cs/9603104
    """
    means, log_variances = _split(samples)
    if log_variances is not None and not has_log_variance:
        raise ValueError(
            f"samples has shape {list(jnp.shape(samples))}: are the two columns mean "
            "and log-variance, as of gaussian_likelihood? Then pass "
            "partial(predictive_variance, has_log_variance=True). Two targets are "
            "scored one at a time: samples[..., :1]."
        )
    return _variance(means, log_variances)


def gaussian_bald(
    samples: Array, *, noise_variance: float | Array | None = None
) -> Array:
    r"""Mutual information between a real label and the network, in nats.

    $\frac12 \log \mathrm{Var}[y] - \frac1S \sum_s \frac12 \log \sigma_s^2$: the entropy
    of a Gaussian with the mixture's mean and variance less the mean entropy of the
    networks. A Gaussian has the largest entropy of its variance, so this bounds the
    information from above; it is exact where the mixture is Gaussian, as for a
    Gaussian process, and 0 where the networks agree.

    Args:
      samples: outputs of S networks: `[S, ..., 2]` with mean and log-variance,
        `[S, ..., 1]` with the mean, or means `[S, N]`.
      noise_variance: variance of the label's noise, positive, for networks that predict
        means only; it sets which spread counts as large.

    Returns:
      `[...]` nats, at least 0.

    Raises:
      ValueError: the shape is none of these, or the noise is given twice or not at all.
      TypeError: `samples` is not floating point.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import gaussian_bald
      >>> means = jnp.array([[1.0, 5.0], [3.0, 5.0]])
      >>> gaussian_bald(means, noise_variance=1.0).round(4)
      Array([0.3466, 0.    ], dtype=float32)

    Reference:
      Houlsby, Huszar, Ghahramani and Lengyel, "Bayesian Active Learning for
      Classification and Preference Learning", 2011. https://arxiv.org/abs/1112.5745
    """
    means, log_variances = _split(samples)
    if (log_variances is None) == (noise_variance is None):
        raise ValueError(
            "gaussian_bald needs the label's noise once: as log-variances in "
            f"samples[..., 1], or as noise_variance. samples has shape "
            f"{list(jnp.shape(samples))} and noise_variance is {noise_variance}."
        )
    return _bald(means, log_variances, noise_variance)


def _split(samples: Array) -> tuple[Array, Array | None]:
    cure = "Stack the outputs of the networks: mean, or mean and log-variance, last."
    checks.check_min_rank("samples", samples, 2, "[S, N] or [S, ..., 1 or 2]", cure)
    checks.check_floating("samples", samples, "Cast them to float32.")
    samples = jnp.asarray(samples)
    if samples.ndim == 2:
        return samples, None
    if samples.shape[-1] not in (1, 2):
        raise ValueError(
            f"samples has shape {list(samples.shape)}, expected 1 or 2 numbers on the "
            f"last axis. {cure}"
        )
    return samples[..., 0], None if samples.shape[-1] == 1 else samples[..., 1]


@jax.jit
def _variance(means: Array, log_variances: Array | None) -> Array:
    wide = means.astype(jnp.promote_types(means.dtype, jnp.float32))
    spread = _spread(wide)
    if log_variances is None:
        return spread.astype(means.dtype)
    noise = jnp.exp(log_variances.astype(wide.dtype)).mean(0)
    return (noise + spread).astype(means.dtype)


def _spread(means: Array) -> Array:
    # Differences to one of them are exact where all are near; those to a mean, which is
    # rounded as the means are, are not.
    return jnp.var(means - means[:1], axis=0)


@jax.jit
def _bald(means: Array, log_variances: Array | None, noise_variance: Any) -> Array:
    wide = means.astype(jnp.promote_types(means.dtype, jnp.float32))
    spread = _spread(wide)
    if log_variances is None:
        return (0.5 * jnp.log1p(spread / noise_variance)).astype(means.dtype)
    logs = log_variances.astype(wide.dtype)
    # Relative to the mean log-variance: agreement gives 0 without cancellation.
    centre = logs.mean(0)
    excess = jnp.expm1(logs - centre[None]).mean(0) + spread * jnp.exp(-centre)
    return (0.5 * jnp.log1p(jnp.maximum(excess, 0))).astype(means.dtype)
