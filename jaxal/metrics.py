"""How good a classifier is, from its logits and the truth of a test set."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.doubts import warn_of_probabilities
from jaxal.modes import any_promotion

LOWER_IS_BETTER = frozenset({"nll", "brier", "ece", "loss", "rmse", "mae", "error"})
"""Metrics of which less is better; of all others more is."""


def by_name(metrics: Any) -> Mapping[str, Any]:
    """Returns metrics by name, of a task of one's own too: a tuple's, a dict's, none.

    Example:
      >>> from jaxal.metrics import by_name
      >>> by_name({"mae": 0.5}), by_name(None)
      ({'mae': 0.5}, {})
    """
    return getattr(metrics, "_asdict", lambda: metrics or {})()


class Metrics(NamedTuple):
    """Quality of a classifier on a test set."""

    accuracy: Array  # [] share of rows predicted right
    nll: Array  # [] mean negative log-likelihood, nats
    macro_f1: Array  # [] mean F1 over classes
    ece: Array  # [] expected calibration error
    brier: Array  # [] mean squared distance of probabilities to the truth, 0 to 2
    per_class_accuracy: Array  # [C] recall, NaN for a class without rows


@any_promotion
def expected_calibration_error(
    logits: Array, labels: Array, *, num_bins: int = 15
) -> Array:
    r"""Returns how far confidence is from accuracy, in equal-width bins.

    $\sum_b \frac{n_b}{N} \lvert \mathrm{acc}_b - \mathrm{conf}_b \rvert$, where bin b
    holds the rows whose largest probability lies in $(b / B, (b + 1) / B]$.

    Args:
      logits: `[N, C]`.
      labels: `[N]` integers.
      num_bins: the number of bins over (0, 1], B above.

    Returns:
      A scalar in [0, 1].

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import expected_calibration_error
      >>> sure = jnp.log(jnp.array([[1.0, 0.0], [1.0, 0.0]]))
      >>> expected_calibration_error(sure, jnp.array([0, 1]))
      Array(0.5, dtype=float32)

    Reference:
      Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
      https://arxiv.org/abs/1706.04599
    """
    probs = jax.nn.softmax(logits.astype(jnp.float32))
    confidence = probs.max(axis=-1)
    is_right = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
    bins = jnp.clip(jnp.ceil(confidence * num_bins) - 1, 0, num_bins - 1)
    # n_b |acc_b - conf_b| is |sum of (right - confidence)| over the bin.
    gaps = jax.ops.segment_sum(
        is_right - confidence, bins.astype(jnp.int32), num_segments=num_bins
    )
    return jnp.abs(gaps).sum() / logits.shape[0]


@any_promotion
def classification_metrics(logits: Array, labels: Array) -> Metrics:
    r"""Returns accuracy, likelihood, F1, calibration and Brier score of predictions.

    Args:
      logits: `[N, C]`.
      labels: `[N]` integers in `0 .. C - 1`.

    Returns:
      `Metrics`. A class that is neither present nor predicted is left out of
      the macro F1; the per-class accuracy of an absent class is NaN.

    Raises:
      ValueError: `logits` is not `[N, C]`, or `labels` has another length or is outside
        `0 .. C - 1`; where values are traced, the likelihood is NaN instead.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import classification_metrics
      >>> logits = jnp.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [1.0, 0.0]])
      >>> metrics = classification_metrics(logits, jnp.array([0, 1, 0, 1]))
      >>> float(metrics.accuracy)
      0.75
      >>> metrics.per_class_accuracy
      Array([1. , 0.5], dtype=float32)
    """
    checks.check_rank("logits", logits, 2, "[N, C]", "Pass one row of logits a label.")
    warn_of_probabilities("logits", logits)
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels has shape {list(labels.shape)}, expected [{logits.shape[0]}], "
            "one label for each row of logits."
        )
    if not isinstance(labels, jax.core.Tracer):
        cure = "Leave out rows whose label nobody knows."
        checks.check_classes("labels", labels, logits.shape[-1], cure)
    predicted = jnp.argmax(logits, axis=-1)
    is_class = jax.nn.one_hot(labels, logits.shape[-1])
    is_predicted = jax.nn.one_hot(predicted, logits.shape[-1])
    hits, present = (is_class * is_predicted).sum(0), is_class.sum(0)
    either = present + is_predicted.sum(0)
    f1 = jnp.where(either > 0, 2 * hits / jnp.maximum(either, 1), 0)
    probs = jax.nn.softmax(logits.astype(jnp.float32))
    return Metrics(
        accuracy=jnp.mean(predicted == labels, dtype=jnp.float32),
        nll=-log_likelihood(logits, labels).mean(),
        macro_f1=f1.sum() / jnp.maximum((either > 0).sum(), 1),
        ece=expected_calibration_error(logits, labels),
        brier=jnp.square(probs - is_class).sum(-1).mean(),
        per_class_accuracy=jnp.where(
            present > 0, hits / jnp.maximum(present, 1), jnp.nan
        ),
    )


@any_promotion
def log_likelihood(logits: Array, labels: Array) -> Array:
    """Returns the log-probability `[N]` of labels; NaN of one that is no class.

    Args:
      logits: `[N, C]`.
      labels: `[N]` integers.
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    found = jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0]
    return jnp.where(labels < 0, jnp.nan, found)  # the last class, by Python's count


def metrics_of(task: Any) -> Callable[[Array, Array], Any]:
    """Returns how outputs `[T, C]` are judged by labels `[T]`.

    Args:
      task: of a learner, None for classification.
    """
    return classification_metrics if task is None else task.metrics
