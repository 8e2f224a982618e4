"""When to stop buying labels: rules over what the rounds so far have shown.

A rule is a function of the history, one `Progress` a round, that says True when the
next label is not worth its price.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Progress(NamedTuple):
    """What a stopping rule may look at after a round."""

    num_labelled: int  # labels bought so far
    accuracy: float | None = None  # on a validation set, in [0, 1]
    predictions: np.ndarray | None = None  # [M] classes on a fixed unlabelled stop set


Rule = Callable[[Sequence[Progress]], bool]


def max_labels(budget: int) -> Rule:
    """Stops when the budget is spent.

    Args:
      budget: labels that may be bought in all.

    Example:
      >>> from jaxal.stopping import Progress, max_labels
      >>> rule = max_labels(100)
      >>> rule([Progress(60)]), rule([Progress(60), Progress(100)])
      (False, True)
    """
    return lambda history: bool(history) and history[-1].num_labelled >= budget


def target_accuracy(target: float) -> Rule:
    """Stops when the validation accuracy reaches a target.

    Args:
      target: accuracy in [0, 1].

    Raises:
      ValueError: it is not, as 90 for 90 % would not be.

    Example:
      >>> from jaxal.stopping import Progress, target_accuracy
      >>> target_accuracy(0.9)([Progress(60, accuracy=0.92)])
      True
    """
    if not 0 <= target <= 1:
        raise ValueError(f"target is {target}, expected an accuracy of 0 to 1.")

    def rule(history: Sequence[Progress]) -> bool:
        return bool(history) and _accuracies(history)[-1] >= target

    return rule


def plateau(patience: int = 3, min_gain: float = 0.0) -> Rule:
    """Stops when the best accuracy has not grown for some rounds.

    Args:
      patience: rounds without a gain after which to stop.
      min_gain: growth of the accuracy that counts as a gain.

    Example:
      >>> from jaxal.stopping import Progress, plateau
      >>> curve = [0.5, 0.7, 0.7, 0.69]
      >>> history = [Progress(10 * i, accuracy=a) for i, a in enumerate(curve)]
      >>> plateau(2)(history), plateau(3)(history)
      (True, False)
    """

    def rule(history: Sequence[Progress]) -> bool:
        if len(history) <= patience:
            return False
        accuracies = _accuracies(history)
        before, since = accuracies[:-patience], accuracies[-patience:]
        return max(since) <= max(before) + min_gain

    return rule


def stabilizing_predictions(threshold: float = 0.99, window: int = 3) -> Rule:
    r"""Stops when successive models agree on a fixed set of unlabelled rows.

    Agreement is Cohen's $\kappa = \frac{A_o - A_e}{1 - A_e}$ between the predictions of
    neighbouring rounds, averaged over the last `window` pairs. It needs no labels.

    Args:
      threshold: mean agreement that is enough.
      window: pairs of rounds to average over.

    Example:
      >>> import numpy as np
      >>> from jaxal.stopping import Progress, stabilizing_predictions
      >>> same = [Progress(i, predictions=np.array([0, 1, 1])) for i in range(4)]
      >>> stabilizing_predictions()(same), stabilizing_predictions()(same[:3])
      (True, False)

    Reference:
      Bloodgood and Vijay-Shanker, "A Method for Stopping Active Learning Based on
      Stabilizing Predictions and the Need for User-Adjustable Stopping", CoNLL 2009.
      https://arxiv.org/abs/1409.5165
    """

    def rule(history: Sequence[Progress]) -> bool:
        if len(history) <= window:
            return False
        recent = [progress.predictions for progress in history[-window - 1 :]]
        if any(p is None for p in recent):
            raise ValueError(
                "stabilizing_predictions needs Progress.predictions of every round: "
                "the classes predicted for a fixed set of unlabelled rows."
            )
        pairs = zip(recent[:-1], recent[1:], strict=True)
        agreement = [cohen_kappa(a, b) for a, b in pairs]  # type: ignore[arg-type]
        return float(np.mean(agreement)) >= threshold

    return rule


def any_of(*rules: Rule) -> Rule:
    """Stops as soon as one of the rules says so.

    Example:
      >>> from jaxal.stopping import Progress, any_of, max_labels, target_accuracy
      >>> any_of(max_labels(100), target_accuracy(0.9))([Progress(60, accuracy=0.95)])
      True
    """
    return lambda history: any(rule(history) for rule in rules)


def cohen_kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the agreement of two labellings, corrected for chance.

    Args:
      first: `[M]` classes.
      second: `[M]` classes.

    Returns:
      1 for full agreement, 0 for that of chance; full agreement on a single class
      counts as 1.

    Example:
      >>> import numpy as np
      >>> from jaxal.stopping import cohen_kappa
      >>> cohen_kappa(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
      0.5
    """
    observed = float(np.mean(first == second))
    classes = np.union1d(first, second)
    expected = sum(float(np.mean(first == c) * np.mean(second == c)) for c in classes)
    return 1.0 if expected == 1 else (observed - expected) / (1 - expected)


def _accuracies(history: Sequence[Progress]) -> list[float]:
    accuracies = [progress.accuracy for progress in history]
    if any(accuracy is None for accuracy in accuracies):
        raise ValueError(
            "This rule needs Progress.accuracy of every round: measure it on "
            "validation rows, not on the test set."
        )
    return accuracies  # type: ignore[return-value]
