"""Labels, seconds or money until a target is reached, and the share that was saved.

All of it is NumPy on the host. Curves are `[n, R]`, a row a seed; the same row of two
strategies is a pair. Where lower is better, negate curves and target.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxal.comparisons import middle, resamples
from jaxal.statistics import Interval, as_curve

_BEYOND = np.inf  # labels to a target that a curve does not reach


def labels_to_target(
    num_labels: ArrayLike, values: ArrayLike, target: float
) -> float | None:
    """Returns how many labels a curve needs to reach a value.

    Args:
      num_labels: `[R]` labels used, increasing.
      values: `[R]` accuracies.
      target: the value to reach.

    Returns:
      The number of labels, by linear interpolation between the two rounds where the
      curve first crosses the target; None where it never does.

    Raises:
      ValueError: the lengths differ, or the labels do not increase.

    Example:
      >>> from jaxal import labels_to_target
      >>> labels_to_target([100, 200, 300], [0.2, 0.4, 0.6], 0.5)
      250.0
      >>> labels_to_target([100, 200, 300], [0.2, 0.4, 0.6], 0.9) is None
      True
    """
    x, y = as_curve(num_labels, values)
    found = float(_reached(x[None], y[None], np.array([target]))[0])
    return found if np.isfinite(found) else None


def label_savings(labels: float | None, baseline: float | None) -> float | None:
    """Returns the share of labels saved against a baseline, None where unknown.

    Args:
      labels: labels a strategy needed, from `labels_to_target`.
      baseline: labels the baseline needed.

    Returns:
      `1 - labels / baseline`; None where either never got there.

    Example:
      >>> from jaxal import label_savings
      >>> label_savings(300.0, 400.0)
      0.25
      >>> label_savings(None, 400.0) is None
      True
    """
    if labels is None or baseline is None:
        return None
    return 1 - labels / baseline


def target_interval(
    spent: ArrayLike,
    curves: ArrayLike,
    target: float,
    *,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Returns what is spent until the mean curve reaches a target, with an interval.

    Seeds are drawn with replacement; of each draw the mean curve says where it gets to
    the target. A draw that never does counts as infinite: that is known of it, that it
    takes more than was spent (censored), and no number is made up.

    Args:
      spent: labels, seconds or money before each measurement, `[R]`, or `[n, R]` of
        each seed; increasing.
      curves: `[n, R]`.
      target: to reach.
      confidence: probability of the interval.
      num_resamples: draws.
      seed: of the draws.

    Returns:
      An `Interval`, infinite where the target is not reached: (80, 60, inf) is reached
      by the mean, and not by more than one in forty draws. Of one seed, ends are NaN.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from jaxal import target_interval
      >>> curves = np.array([[0.1, 0.2, 0.4], [0.1, 0.3, 0.5]])
      >>> found = target_interval([10, 20, 30], curves, 0.4)
      >>> [round(float(x), 1) for x in found]
      [27.5, 25.0, 30.0]
      >>> target_interval([10, 20, 30], curves, 0.9).mean
      inf
    """
    y = np.asarray(curves, np.float64)
    x = np.asarray(spent, np.float64)
    if y.ndim != 2 or x.shape not in (y.shape, y.shape[1:]):
        raise ValueError(
            f"spent has shape {list(x.shape)} and curves {list(y.shape)}, expected "
            "[R] or [n, R], and [n, R]."
        )
    x, goal = np.broadcast_to(x, y.shape), np.full(1, target)
    whole = float(_reached(x.mean(0)[None], y.mean(0)[None], goal)[0])
    if len(y) == 1:
        return Interval(whole, np.nan, np.nan)
    draws = resamples(len(y), num_resamples, seed)
    goals = np.repeat(goal, num_resamples)
    found = _reached(x[draws].mean(1), y[draws].mean(1), goals)
    return Interval(whole, *middle(found, confidence))


def savings_interval(
    num_labels: ArrayLike,
    curves: ArrayLike,
    baseline: ArrayLike,
    *,
    target: float | None = None,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Returns the share of labels saved, with an interval over seeds.

    Seeds are drawn with replacement, in pairs; of each draw the mean curves say how
    many labels either needs. A draw in which the strategy never gets to the target, but
    the baseline does, saves less than nothing: minus infinity. One in which the
    baseline does not, but the strategy does, saves an unknown share, at least
    `1 - labels / last`.

    Args:
      num_labels: `[R]` labels used, increasing.
      curves: `[n, R]` of the strategy.
      baseline: `[n, R]`, the same seeds in the same order.
      target: to reach; by default what the baseline's mean of each draw ends at.
      confidence: probability of the interval.
      num_resamples: draws.
      seed: of the draws.

    Returns:
      An `Interval` of shares, negative for labels wasted; NaN where neither of the
      means gets there, and for the ends where there is one seed.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from jaxal import savings_interval
      >>> slow = np.array([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]])
      >>> savings_interval([10, 20, 30], slow + 0.1, slow).mean.__round__(3)
      0.333
    """
    x = np.asarray(num_labels, np.float64)
    mine, base = np.asarray(curves, float), np.asarray(baseline, float)
    if mine.shape != base.shape or mine.ndim != 2 or mine.shape[1:] != x.shape:
        raise ValueError(
            f"num_labels has shape {list(x.shape)}, curves {list(mine.shape)} and "
            f"baseline {list(base.shape)}, expected [R], [n, R] and [n, R] of the same "
            "seeds."
        )
    whole = _saved(x[None], mine.mean(0)[None], base.mean(0)[None], target)[0]
    if len(mine) == 1:
        return Interval(float(whole), np.nan, np.nan)
    draws = resamples(len(mine), num_resamples, seed)
    saved = _saved(x[None], mine[draws].mean(1), base[draws].mean(1), target)
    saved = np.where(np.isnan(saved), 0, saved)  # neither: no difference was seen
    return Interval(float(whole), *middle(saved, confidence))


def _saved(
    x: np.ndarray, mine: np.ndarray, base: np.ndarray, target: float | None
) -> np.ndarray:
    """Shares saved of mean curves `[B, R]`."""
    goals = base[:, -1] if target is None else np.full(len(base), target)
    needed, usual = _reached(x, mine, goals), _reached(x, base, goals)
    is_known = np.isfinite(usual) | np.isfinite(needed)
    most = np.where(np.isfinite(usual), usual, x[:, -1])
    share = np.where(np.isfinite(needed), 1 - needed / most, -np.inf)
    return np.where(is_known, share, np.nan)


def _reached(x: np.ndarray, curves: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """Where curves `[B, R]` over x `[B or 1, R]` first reach goals, infinite: never."""
    x, is_there = np.broadcast_to(x, curves.shape), curves >= goals[:, None]
    first = is_there.argmax(1)
    before, rows = np.maximum(first - 1, 0), np.arange(len(curves))
    low, high = curves[rows, before], curves[rows, first]
    rise = np.where(high > low, high - low, 1)
    share = np.clip((goals - low) / rise, 0, 1)
    at = x[rows, before] + share * (x[rows, first] - x[rows, before])
    return np.where(is_there.any(1), at, _BEYOND)
