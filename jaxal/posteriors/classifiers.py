"""Classifiers of other libraries as a committee: whatever has `predict_proba`."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.posteriors.networks import mean_probabilities
from jaxal.types import View


def classifier_logits(
    classifiers: Sequence[Any],
    inputs: Any,
    *,
    num_classes: int,
    classes: Sequence[int] | np.ndarray | None = None,
) -> Array:
    """Returns what fitted classifiers predict, as logits of posterior samples.

    The column of a class is found by the classifier's `classes_`; a class it has never
    seen has probability zero. Runs on the host: not for `jit`.

    Args:
      classifiers: S fitted objects with `predict_proba(inputs) -> [N, columns]`, as
        scikit-learn's; and `classes_`, unless every class is a column.
      inputs: what they take.
      num_classes: C.
      classes: class numbers that entries of `classes_` stand for. Members of a
        scikit-learn ensemble are trained on positions, 0, 1, ..: pass the ensemble's
        own `classes_` with its `estimators_`.

    Returns:
      `[S, N, C]` float32 log-probabilities, -inf for zero.

    Raises:
      ValueError: there are no classifiers, a class is no number in `0 .. C - 1`, or
        what comes back are no probabilities of those classes.

    Example:
      >>> import numpy as np
      >>> from jaxal import classifier_logits
      >>> class Sure:
      ...   classes_ = np.array([2])
      ...   def predict_proba(self, inputs):
      ...     return np.ones((len(inputs), 1))
      >>> classifier_logits([Sure()], np.zeros((1, 5)), num_classes=3).tolist()
      [[[-inf, -inf, 0.0]]]
    """
    if not classifiers:
        raise ValueError("There are no classifiers. Pass a sequence of fitted ones.")
    samples = [_log_probs(c, inputs, num_classes, classes) for c in classifiers]
    return jnp.asarray(np.stack(samples))


def classifier_view(
    classifiers: Sequence[Any],
    inputs: Any,
    is_available: Array,
    is_labelled: Array,
    *,
    num_classes: int,
    classes: Sequence[int] | np.ndarray | None = None,
    labels: Array | None = None,
    features: Array | None = None,
) -> View:
    """Returns what any strategy by name may see of a committee of classifiers.

    Args:
      classifiers: S fitted objects, see `classifier_logits`.
      inputs: `N` rows of the pool, as they take them.
      is_available: `[N]` bool, rows that may be bought.
      is_labelled: `[N]` bool.
      num_classes: C.
      classes: class numbers that entries of `classes_` stand for.
      labels: `[N]` integers, -1 where nobody has answered.
      features: `[N, D]`, for strategies that want them: the inputs, for example.

    Returns:
      A `View` with samples, and their mean as logits and as what is predicted.

    Raises:
      ValueError: as `classifier_logits`.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np
      >>> from jaxal import classifier_view, strategy
      >>> class Step:
      ...   def __init__(self, at):
      ...     self.at = at
      ...   def predict_proba(self, inputs):
      ...     return np.eye(2)[(inputs[:, 0] > self.at).astype(int)]
      >>> inputs, free = np.array([[0.0], [4.0], [9.0]]), jnp.ones(3, bool)
      >>> view = classifier_view([Step(3), Step(5)], inputs, free, ~free, num_classes=2)
      >>> strategy("vote_entropy").select(jax.random.key(0), view, 1).indices
      Array([1], dtype=int32)
    """
    samples = classifier_logits(
        classifiers, inputs, num_classes=num_classes, classes=classes
    )
    mean = mean_probabilities(samples)
    return View(
        jnp.asarray(is_available),
        jnp.asarray(is_labelled),
        labels=labels,
        logits=mean,
        predictive=mean,
        samples=samples,
        features=features,
    )


def _log_probs(
    classifier: Any,
    inputs: Any,
    num_classes: int,
    classes: Sequence[int] | np.ndarray | None,
) -> np.ndarray:
    probs = np.asarray(classifier.predict_proba(inputs))
    columns = _columns(classifier, num_classes, classes)
    if probs.ndim != 2 or probs.shape[1] != len(columns):
        raise ValueError(
            f"predict_proba gave shape {list(probs.shape)}, expected [N, "
            f"{len(columns)}] for classes {columns.tolist()}. One output at a time."
        )
    if not np.isfinite(probs).all() or (probs < 0).any():
        raise ValueError(
            f"predict_proba of {type(classifier).__name__} gave negative or infinite "
            "numbers or NaN, expected probabilities."
        )
    logs = np.full((probs.shape[0], num_classes), -np.inf, np.float32)
    logs[:, columns] = np.log(probs, out=np.full(probs.shape, -np.inf), where=probs > 0)
    return logs


def _columns(
    classifier: Any, num_classes: int, classes: Sequence[int] | np.ndarray | None
) -> np.ndarray:
    """Class numbers of the columns of `predict_proba`."""
    known = np.asarray(getattr(classifier, "classes_", np.arange(num_classes)))
    if classes is not None:
        known = np.asarray(classes)[known.astype(int)]
    is_number = np.issubdtype(known.dtype, np.number)
    if not is_number or (known != np.round(known)).any():
        raise ValueError(
            f"classes_ is {known.tolist()}, expected class numbers 0 to "
            f"{num_classes - 1}. Train on numbers, or pass classes=."
        )
    if (known < 0).any() or (known >= num_classes).any():
        raise ValueError(
            f"classes_ is {known.tolist()}, expected numbers 0 to {num_classes - 1}. "
            "Check num_classes."
        )
    return known.astype(int)
