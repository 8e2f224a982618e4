"""When to stop buying labels: rules over what the rounds so far have shown.

A rule is a function of the history, one `Progress` a round, that says True when the
next label is not worth its price. `jaxal.runs.run(stop=)` and `--stop` ask it in every
round; accuracies are then those of the validation split.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxal.expressions import evaluate


class Progress(NamedTuple):
    """What a stopping rule may look at after a round."""

    num_labelled: int  # labels bought so far
    accuracy: float | None = None  # on a validation set, in [0, 1]
    predictions: np.ndarray | None = None  # [M] classes on a fixed unlabelled stop set
    seconds: float | None = None  # since the first round began


Rule = Callable[[Sequence[Progress]], bool]


@dataclass(frozen=True)
class Said:
    """A rule that knows what it is called, and what it is made of."""

    text: str
    ask: Rule
    parts: tuple[Rule, ...] = ()

    def __call__(self, history: Sequence[Progress]) -> bool:
        return self.ask(history)

    def __str__(self) -> str:
        return self.text


def stopped_by(rule: Rule, history: Sequence[Progress]) -> str | None:
    """Returns what the rule that stops is called, None if none does.

    Args:
      rule: of any kind; of `any_of`, the part that stops is named.
      history: what the rounds so far have shown.

    Example:
      >>> from jaxal.stopping import Progress, any_of, max_labels, stopped_by
      >>> either = any_of(max_labels(100), max_labels(60))
      >>> stopped_by(either, [Progress(70)]), stopped_by(either, [Progress(50)])
      ('max_labels(60)', None)
    """
    if not rule(history):
        return None
    parts = getattr(rule, "parts", ())
    found = (stopped_by(part, history) for part in parts)
    return next(filter(None, found), None) or name_of(rule)


def name_of(rule: Rule) -> str:
    """Returns what a rule is called, one of a user's own by its function's name."""
    return str(rule) if isinstance(rule, Said) else getattr(rule, "__name__", "custom")


def rule_of(text: str) -> Rule:
    """Returns the rule that a text says, such as `any_of(plateau(patience=2), ...)`.

    Args:
      text: an expression of the rules here, with settings by name.

    Raises:
      ValueError: it says none; the message points at the character.

    Example:
      >>> from jaxal.stopping import rule_of
      >>> str(rule_of("any_of(plateau, target_accuracy(target=0.9))"))
      'any_of(plateau(3, 0.0), target_accuracy(0.9))'
    """

    def make(name: str, *parts: Rule, **settings: Any) -> Rule:
        if name not in _BY_NAME:
            raise ValueError(
                f"There is no rule {name!r}, expected one of {', '.join(_BY_NAME)}."
            )
        return _BY_NAME[name](*parts, **settings)

    return evaluate(text, make, _BY_NAME.__contains__)


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

    def rule(history: Sequence[Progress]) -> bool:
        return bool(history) and history[-1].num_labelled >= budget

    return Said(f"max_labels({budget})", rule)


def max_seconds(limit: float) -> Rule:
    """Stops when the rounds so far have taken a time.

    Args:
      limit: seconds.

    Example:
      >>> from jaxal.stopping import Progress, max_seconds
      >>> max_seconds(60)([Progress(60, seconds=61.0)])
      True
    """

    def rule(history: Sequence[Progress]) -> bool:
        return bool(history) and (history[-1].seconds or 0) >= limit

    return Said(f"max_seconds({limit})", rule)


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

    return Said(f"target_accuracy({target})", rule)


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

    return Said(f"plateau({patience}, {min_gain})", rule)


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

    return Said(f"stabilizing_predictions({threshold}, {window})", rule)


def any_of(*rules: Rule) -> Rule:
    """Stops as soon as one of the rules says so.

    Example:
      >>> from jaxal.stopping import Progress, any_of, max_labels, target_accuracy
      >>> any_of(max_labels(100), target_accuracy(0.9))([Progress(60, accuracy=0.95)])
      True
    """
    return _joined("any_of", any, rules)


def all_of(*rules: Rule) -> Rule:
    """Stops when all of the rules say so.

    Example:
      >>> from jaxal.stopping import Progress, all_of, max_labels, target_accuracy
      >>> all_of(max_labels(50), target_accuracy(0.9))([Progress(60, accuracy=0.8)])
      False
    """
    return _joined("all_of", all, rules)


def _joined(name: str, joined: Callable[[Any], bool], rules: tuple[Rule, ...]) -> Rule:
    if not rules:
        raise ValueError(f"{name} has no rule, expected at least one.")
    text = f"{name}({', '.join(map(name_of, rules))})"
    parts = rules if joined is any else ()
    return Said(text, lambda history: joined(rule(history) for rule in rules), parts)


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


_BY_NAME: dict[str, Callable[..., Rule]] = {
    rule.__name__: rule
    for rule in (plateau, target_accuracy, max_labels, max_seconds, any_of, all_of)
}
