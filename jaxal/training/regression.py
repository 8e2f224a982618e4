"""Regression: labels that are real numbers, from training to metrics.

A network for regression has one output, the mean, or two, mean and log-variance. Pools
come from `regression_pool`, learners from `supervised(task=least_squares)`, and
strategies are those that look at features or at Gaussian samples. Targets are centred
and scaled inside, by the labelled rows, for networks that keep the scale of their
outputs (those of the zoo, and `self_scaling(model)`); predictions are in their units.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.modes import any_promotion
from jaxal.training.tasks import Task


class RegressionMetrics(NamedTuple):
    """Quality of real-valued predictions on a test set."""

    rmse: Array  # [] root mean squared error, units of the target
    mae: Array  # [] mean absolute error, units of the target
    r2: Array  # [] share of the variance explained; NaN for a constant target
    nll: Array  # [] mean negative log-likelihood, nats; NaN without a log-variance


@any_promotion
def squared_error(outputs: Array, targets: Array) -> Array:
    r"""Returns $(\mu - y)^2$.

    Args:
      outputs: `[B, 1]` means, or `[B, 2]`, whose log-variances are ignored.
      targets: `[B]`.

    Returns:
      `[B]` squared errors.

    Raises:
      ValueError: `outputs` has another shape.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import squared_error
      >>> squared_error(jnp.array([[3.0]]), jnp.array([1.0])).tolist()
      [4.0]
    """
    return jnp.square(_mean(outputs) - targets)


@any_promotion
def gaussian_nll(outputs: Array, targets: Array) -> Array:
    r"""Returns $\frac12 (\log 2 \pi \sigma^2 + (\mu - y)^2 / \sigma^2)$.

    Args:
      outputs: `[B, 2]` means and log-variances.
      targets: `[B]`.

    Returns:
      `[B]` negative log-likelihoods, nats.

    Raises:
      ValueError: `outputs` has another shape.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import gaussian_nll
      >>> print(f"{gaussian_nll(jnp.zeros([1, 2]), jnp.zeros(1))[0]:.4f}")
      0.9189

    Reference:
      Nix and Weigend, "Estimating the Mean and Variance of the Target Probability
      Distribution", ICNN 1994. https://doi.org/10.1109/ICNN.1994.374138
    """
    mean = _mean(outputs)
    if outputs.shape[-1] != 2:
        raise ValueError(
            f"outputs has shape {list(outputs.shape)}, expected [B, 2]: mean and "
            "log-variance. Give the network two outputs, or use squared_error."
        )
    log_variance = outputs[..., 1].astype(mean.dtype)
    scaled = jnp.square(mean - targets) * jnp.exp(-log_variance)
    return 0.5 * (jnp.log(2 * jnp.pi) + log_variance + scaled)


@any_promotion
def combine_gaussians(outputs: Array) -> Array:
    """Returns mean and log-variance of the mixture of S Gaussians.

    Args:
      outputs: `[S, B, 1]` means, or `[S, B, 2]` means and log-variances.

    Returns:
      `[B, 1]` or `[B, 2]`, the Gaussian of the mixture's mean and variance.

    Raises:
      ValueError: `outputs` has another shape.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import combine_gaussians
      >>> combine_gaussians(jnp.array([[[1.0]], [[3.0]]])).tolist()
      [[2.0]]
    """
    means = _mean(outputs)
    if outputs.shape[-1] == 1:
        return means.mean(0)[..., None]
    noise = jnp.exp(outputs[..., 1].astype(means.dtype)).mean(0)
    log_variance = jnp.log(noise + jnp.var(means, axis=0))
    return jnp.stack([means.mean(0), log_variance], axis=-1)


@any_promotion
def regression_metrics(outputs: Array, targets: Array) -> RegressionMetrics:
    """Returns errors and likelihood of real-valued predictions.

    Args:
      outputs: `[N, 1]` means, or `[N, 2]` means and log-variances.
      targets: `[N]`.

    Returns:
      `RegressionMetrics`.

    Raises:
      ValueError: the shapes do not fit together.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import regression_metrics
      >>> outputs = jnp.array([[1.0], [2.0]])
      >>> metrics = regression_metrics(outputs, jnp.array([1.0, 4.0]))
      >>> float(metrics.mae)
      1.0
    """
    mean = _mean(outputs)
    if targets.shape != mean.shape:
        raise ValueError(
            f"targets has shape {list(targets.shape)}, expected {list(mean.shape)}, "
            "one number for each row of outputs."
        )
    errors = jnp.square(mean - targets)
    spread = jnp.square(targets - targets.mean()).mean()
    has_noise = outputs.shape[-1] == 2
    return RegressionMetrics(
        rmse=jnp.sqrt(errors.mean()),
        mae=jnp.abs(mean - targets).mean(),
        r2=jnp.where(spread > 0, 1 - errors.mean() / spread, jnp.nan),
        nll=gaussian_nll(outputs, targets).mean() if has_noise else jnp.array(jnp.nan),
    )


def _mean(outputs: Array) -> Array:
    cure = "A regression network gives the mean, or mean and log-variance, a row."
    checks.check_min_rank("outputs", outputs, 2, "[B, 1] or [B, 2]", cure)
    if outputs.shape[-1] not in (1, 2):
        raise ValueError(
            f"outputs has shape {list(outputs.shape)}, expected [B, 1] or [B, 2]. "
            f"{cure}"
        )
    return outputs[..., 0].astype(jnp.promote_types(outputs.dtype, jnp.float32))


def _mean_and_noise(targets: Array, weights: Array, num_outputs: int) -> Array:
    """Mean, and log-variance where there is one, of targets `[B]`."""
    total = jnp.maximum(weights.sum(), 1)
    mean = (weights * targets).sum() / total
    variance = (weights * jnp.square(targets - mean)).sum() / total
    return jnp.stack([mean, jnp.log(jnp.maximum(variance, 1e-12))])[:num_outputs]


least_squares = Task(
    squared_error, regression_metrics, combine_gaussians, _mean_and_noise, True
)
gaussian_likelihood = Task(
    gaussian_nll, regression_metrics, combine_gaussians, _mean_and_noise, True
)
