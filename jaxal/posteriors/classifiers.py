"""Classifiers of other libraries as a committee: whatever has `predict_proba`."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxal import checks
from jaxal.modes import held
from jaxal.pools.inputs import is_traced
from jaxal.pools.pool import as_labels, is_answer
from jaxal.posteriors.networks import mean_probabilities
from jaxal.types import View

_ROUNDING = 1e-3  # of sums of probabilities in half precision


def classifier_logits(
    classifiers: Sequence[Any],
    inputs: Any,
    *,
    num_classes: int,
    classes: Sequence[Any] | np.ndarray | None = None,
    names: Sequence[Any] | np.ndarray | None = None,
) -> Array:
    """Returns what fitted classifiers predict, as logits of posterior samples.

    The column of a class is found by the classifier's `classes_`; a class it has never
    seen has probability zero. Runs on the host: not for `jit`.

    Args:
      classifiers: S fitted objects with `predict_proba(inputs) -> [N, columns]`, as
        scikit-learn's; and `classes_`, unless every class is a column.
      inputs: what they take.
      num_classes: C.
      classes: what entries of `classes_` that are positions stand for. Members of a
        scikit-learn ensemble are trained on positions, 0, 1, ..: pass the ensemble's
        own `classes_` with its `estimators_`.
      names: `C` labels that the classifiers were trained on, that of class c at place
        c, where they are no class numbers: words, -1 and 1, or 10, 20, 30; see
        `label_names`.

    Returns:
      `[S, N, C]` float32 log-probabilities, -inf for zero.

    Raises:
      ValueError: there are no classifiers, a class is no number in `0 .. C - 1`, two
        are the same, or what comes back are no probabilities of those classes, one of
        which is true.

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
    if hasattr(classifiers, "predict_proba"):
        raise ValueError(
            f"classifiers is one {type(classifiers).__name__}, expected a sequence. "
            "Pass [it], or its estimators_ if it is an ensemble, with its classes_ as "
            "classes=."
        )
    if not classifiers:
        raise ValueError("There are no classifiers. Pass a sequence of fitted ones.")
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}, expected at least 2.")
    if names is not None and len(set(names)) != num_classes:
        raise ValueError(
            f"names is {list(names)}, expected {num_classes} labels, one a class."
        )
    samples = [_log_probs(c, inputs, num_classes, classes, names) for c in classifiers]
    if len(sizes := {len(sample) for sample in samples}) > 1:
        raise ValueError(
            f"classifiers answer for {sorted(sizes)} rows, expected as many each. Give "
            "all the same inputs."
        )
    return jnp.asarray(np.stack(samples))


def classifier_view(
    classifiers: Sequence[Any],
    inputs: Any,
    is_available: ArrayLike,
    is_labelled: ArrayLike,
    *,
    num_classes: int,
    classes: Sequence[Any] | np.ndarray | None = None,
    names: Sequence[Any] | np.ndarray | None = None,
    labels: ArrayLike | None = None,
    features: ArrayLike | None = None,
) -> View:
    """Returns what any strategy by name may see of a committee of classifiers.

    Args:
      classifiers: S fitted objects, see `classifier_logits`.
      inputs: `N` rows of the pool, as they take them.
      is_available: `[N]` bool, rows that may be bought.
      is_labelled: `[N]` bool.
      num_classes: C.
      classes: what positions in `classes_` stand for, see `classifier_logits`.
      names: labels that the classifiers were trained on, class 0 first.
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
        classifiers, inputs, num_classes=num_classes, classes=classes, names=names
    )
    mean = mean_probabilities(samples)
    return View(
        jnp.asarray(is_available),
        jnp.asarray(is_labelled),
        labels=None if labels is None else _labels(labels, num_classes),
        logits=mean,
        predictive=mean,
        samples=samples,
        features=None if features is None else jnp.asarray(held("features", features)),
    )


def _labels(labels: Any, num_classes: int) -> Array:
    found = as_labels(labels)
    checks.check_whole("labels", found)
    if not is_traced(found):
        cure = "Say -1 where there is no answer; jaxal.label_names numbers words."
        checks.check_classes(
            "labels", found[np.asarray(is_answer(found))], num_classes, cure
        )
    return jnp.asarray(found)


def _log_probs(
    classifier: Any, inputs: Any, num_classes: int, classes: Any, names: Any
) -> np.ndarray:
    columns = _columns(classifier, num_classes, classes, names)
    probs = _probabilities(classifier, inputs, columns)
    logs = np.full((probs.shape[0], num_classes), -np.inf, np.float32)
    logs[:, columns] = np.log(probs, out=np.full(probs.shape, -np.inf), where=probs > 0)
    return logs


def _probabilities(classifier: Any, inputs: Any, columns: np.ndarray) -> np.ndarray:
    who = type(classifier).__name__
    if not hasattr(classifier, "predict_proba"):
        raise TypeError(
            f"{who} has no predict_proba. Pass fitted classifiers that have, such as "
            "CalibratedClassifierCV(...) around a support vector machine."
        )
    found = classifier.predict_proba(inputs)
    # One array for each of several outputs: of sizes that differ, no array at all.
    probs: Any = np.empty(0) if isinstance(found, list | tuple) else np.asarray(found)
    if probs.ndim != 2 or probs.shape[1] != len(columns):
        shape = f"shape {list(probs.shape)}" if probs.size else type(found).__name__
        raise ValueError(
            f"predict_proba of {who} gave {shape}, expected [N, "
            f"{len(columns)}] for classes {columns.tolist()}. One output at a time."
        )
    if not np.isfinite(probs).all() or (probs < 0).any():
        raise ValueError(
            f"predict_proba of {who} gave negative or infinite numbers or NaN, "
            "expected probabilities."
        )
    if probs.size and np.abs((sums := probs.sum(axis=1)) - 1).max() > _ROUNDING:
        raise ValueError(
            f"rows of predict_proba of {who} sum to {sums.min():.3g} to "
            f"{sums.max():.3g}, expected 1: one of the classes is true. Of a "
            "multi-label estimator ask about one label at a time, [1 - p, p]."
        )
    return probs


def _columns(classifier: Any, num_classes: int, classes: Any, names: Any) -> np.ndarray:
    """Class numbers of the columns of `predict_proba`."""
    known = np.asarray(getattr(classifier, "classes_", np.arange(num_classes)))
    if classes is not None:
        places = _whole(
            known, len(classes), "positions in classes", "for labels pass names="
        )
        known = np.asarray(classes)[places]
    if names is not None:
        known = _numbers(known, list(names))
    found = _whole(
        known, num_classes, "class numbers", "check num_classes, or pass names="
    )
    if len(set(found.tolist())) < len(found):
        raise ValueError(f"classes_ stands for {found.tolist()}, expected each once.")
    return found


def _numbers(known: np.ndarray, names: list[Any]) -> np.ndarray:
    if odd := [word for word in known.tolist() if word not in names]:
        raise ValueError(
            f"classes_ has {odd[0]!r}, expected some of names {names}: pass the labels "
            "that the classifiers were trained on."
        )
    return np.array([names.index(word) for word in known.tolist()], int)


def _whole(known: np.ndarray, size: int, what: str, cure: str) -> np.ndarray:
    """Whole numbers from 0 to `size - 1`, or a refusal."""
    is_number = np.issubdtype(known.dtype, np.number) and known.ndim == 1
    if not is_number or not np.isin(known, np.arange(size)).all():
        raise ValueError(
            f"classes_ is {known.tolist()}, expected {what} 0 to {size - 1}: {cure}, "
            "labels in the order of their numbers."
        )
    return known.astype(int)
