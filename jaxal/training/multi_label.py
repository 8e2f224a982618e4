"""Several labels a row, and labels that are a spread over classes.

A label is one number, as everywhere in a pool: bit k of it says that label k holds
(`label_sets`, `label_columns`), so that answers, corrections, ledgers and masks are
what they are. A network has a column a label, each the logit of a sigmoid.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxal.metrics import classification_metrics
from jaxal.modes import any_promotion
from jaxal.posteriors.networks import mean_probabilities
from jaxal.training.rows import checked_weights
from jaxal.training.tasks import Task

MOST_LABELS = 30  # that an int32 holds, with room for -1


class MultiLabelMetrics(NamedTuple):
    """Quality of sigmoid columns on a test set; a label is predicted from 1/2 on."""

    micro_f1: Array  # [] F1 of all rows and labels together
    macro_f1: Array  # [] mean F1 over labels that are present or predicted
    accuracy: Array  # [] share of rows all of whose labels are right
    nll: Array  # [] mean negative log-likelihood of a row, nats
    per_label_f1: Array  # [K] NaN for a label neither present nor predicted


def label_sets(columns: ArrayLike) -> np.ndarray:
    """Returns sets of labels as one number a row.

    Args:
      columns: `[N, K]` of 0 and 1, or bools: whether a label holds.

    Returns:
      `[N]` int32, the sum of $2^k$ over labels that hold.

    Raises:
      ValueError: there are more than 30 labels, or anything but 0 and 1.

    Example:
      >>> from jaxal import label_sets
      >>> label_sets([[1, 0, 0], [1, 0, 1], [0, 0, 0]]).tolist()
      [1, 5, 0]
    """
    found = np.asarray(columns)
    is_fit = found.ndim == 2 and found.shape[1] <= MOST_LABELS
    if not is_fit or not np.isin(found, (0, 1)).all():
        raise ValueError(
            f"columns has shape {list(found.shape)}, expected [N, K] of 0 and 1, a "
            f"column for each label, at most {MOST_LABELS}."
        )
    powers = np.left_shift(1, np.arange(found.shape[1]))
    return (found.astype(np.int32) @ powers).astype(np.int32)


@any_promotion
def label_columns(labels: ArrayLike, num_labels: int) -> Array:
    """Returns sets of labels as columns, what `label_sets` made of them.

    Args:
      labels: `[...]` integers.
      num_labels: K.

    Returns:
      `[..., K]` float32 of 0 and 1.

    Raises:
      ValueError: there are more than 30 labels.

    Example:
      >>> from jaxal import label_columns
      >>> label_columns([1, 5], 3).tolist()
      [[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    """
    if num_labels > MOST_LABELS:
        raise ValueError(
            f"There are {num_labels} labels, a column of the network each, expected at "
            f"most {MOST_LABELS}: a set of them is one int32."
        )
    sets = jnp.asarray(labels)
    bits = [(sets >> k) & 1 for k in range(num_labels)]
    return jnp.stack(bits, axis=-1).astype(jnp.float32)


@any_promotion
def sigmoid_cross_entropy(outputs: Array, labels: Array) -> Array:
    r"""Returns $-\sum_k y_k \log \sigma(z_k) + (1 - y_k) \log \sigma(-z_k)$.

    Args:
      outputs: `[B, K]` logits of sigmoids.
      labels: `[B]` sets of labels, see `label_sets`.

    Returns:
      `[B]` negative log-likelihoods, nats.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import sigmoid_cross_entropy
      >>> sigmoid_cross_entropy(jnp.zeros([1, 3]), jnp.array([5])).round(4)
      Array([2.0794], dtype=float32)
    """
    logits = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    signs = 2 * label_columns(labels, outputs.shape[-1]).astype(logits.dtype) - 1
    return -jax.nn.log_sigmoid(signs * logits).sum(axis=-1)


@any_promotion
def multi_label_metrics(outputs: Array, labels: Array) -> MultiLabelMetrics:
    """Returns F1, accuracy and likelihood of sigmoid columns.

    Args:
      outputs: `[N, K]` logits of sigmoids.
      labels: `[N]` sets of labels, see `label_sets`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import multi_label_metrics
      >>> outputs = jnp.array([[1.0, -1.0], [1.0, 1.0]])
      >>> metrics = multi_label_metrics(outputs, jnp.array([1, 1]))
      >>> round(float(metrics.micro_f1), 3), float(metrics.macro_f1)
      (0.8, 0.5)
    """
    truth = label_columns(labels, outputs.shape[-1])
    predicted = (outputs >= 0).astype(jnp.float32)
    hits, either = (truth * predicted).sum(0), (truth + predicted).sum(0)
    f1 = jnp.where(either > 0, 2 * hits / jnp.maximum(either, 1), jnp.nan)
    num_seen = jnp.maximum((either > 0).sum(), 1)
    return MultiLabelMetrics(
        micro_f1=2 * hits.sum() / jnp.maximum(either.sum(), 1),
        macro_f1=jnp.where(either > 0, f1, 0).sum() / num_seen,
        accuracy=(truth == predicted).all(-1).mean(dtype=jnp.float32),
        nll=sigmoid_cross_entropy(outputs, labels).mean(),
        per_label_f1=f1,
    )


@any_promotion
def combine_sigmoids(outputs: Array) -> Array:
    """Returns logits `[B, K]` of the mean of the probabilities of `[S, B, K]` logits.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import combine_sigmoids
      >>> combine_sigmoids(jnp.array([[[2.0]], [[-2.0]]])).tolist()
      [[0.0]]
    """
    logits = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    yes, no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return jax.nn.logsumexp(yes, axis=0) - jax.nn.logsumexp(no, axis=0)


def soft_labels(targets: ArrayLike, weights: ArrayLike | None = None) -> Task:
    r"""Returns the task whose label m is a spread over classes, and may weigh more.

    The loss of a row with label m is $-w_m \sum_c q_{mc} \log p_c$. With a target for
    each row of the pool, row i is answered by the number i.

    Args:
      targets: `[M, C]` probabilities $q$.
      weights: `[M]`, by default 1.

    Returns:
      A `Task`. Its metrics are those of the likeliest classes.

    Raises:
      ValueError: rows of `targets` are no probabilities, or weights are negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import soft_labels
      >>> task = soft_labels([[1.0, 0.0], [0.5, 0.5]], weights=[1.0, 2.0])
      >>> task.loss(jnp.zeros([2, 2]), jnp.array([0, 1])).round(4)
      Array([0.6931, 1.3863], dtype=float32)
    """
    table = np.asarray(targets, np.float32)
    is_spread = table.ndim == 2 and (table >= 0).all()
    if not is_spread or not np.allclose(table.sum(-1), 1, atol=1e-3):
        raise ValueError("targets are no probabilities [M, C]: they do not sum to 1.")
    given = checked_weights("weights", weights, table.shape[:1])
    scale = jnp.ones(len(table)) if given is None else given.astype(jnp.float32)
    rows = jnp.asarray(table), scale
    loss = partial(_soft_cross_entropy, *rows)

    def metrics(logits: Array, labels: Array) -> Any:
        found = classification_metrics(logits, rows[0][labels].argmax(-1))
        return found._replace(nll=loss(logits, labels).mean())

    def guess(labels: Array, counts: Array, num_classes: int) -> Array:
        shares = 1 / num_classes + (counts * rows[1][labels]) @ rows[0][labels]
        return jnp.log(shares / shares.sum())

    return Task(loss, metrics, mean_probabilities, guess, answers=lambda _: len(table))


def _soft_cross_entropy(
    table: Array, scale: Array, logits: Array, labels: Array
) -> Array:
    if logits.shape[-1] != table.shape[-1]:
        raise ValueError(
            f"The network has {logits.shape[-1]} outputs and soft_labels' targets "
            f"{table.shape[-1]} classes, expected as many."
        )
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -scale[labels] * (table[labels] * log_probs).sum(axis=-1)


def _label_frequencies(labels: Array, weights: Array, num_labels: int) -> Array:
    """Logits of how often labels `[B]` hold, each seen once more and once less."""
    held = weights @ label_columns(labels, num_labels).astype(weights.dtype)
    return jnp.log(1 + held) - jnp.log(1 + weights.sum() - held)


multi_label = Task(
    sigmoid_cross_entropy,
    multi_label_metrics,
    combine_sigmoids,
    _label_frequencies,
    answers=lambda num_labels: 2**num_labels,
    of_logits=False,
)
