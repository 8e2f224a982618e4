"""Tests that assume little, are corrected for their number, or say how many to run.

All of it is NumPy on the host.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxal.statistics import Interval, as_vector

CEILING = "all labels"
"""What a study calls its trial that buys every label, which others are a share of."""


def bootstrap_interval(
    values: ArrayLike,
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Returns a mean with its percentile bootstrap interval over independent runs.

    Args:
      values: `[n]`, one a seed.
      confidence: probability of the interval.
      num_resamples: draws of n values with replacement.
      seed: of the draws.

    Returns:
      An `Interval`; with one value its ends are NaN.

    Raises:
      ValueError: there is no value.

    Example:
      >>> from jaxal import bootstrap_interval
      >>> interval = bootstrap_interval([0.5, 0.6, 0.7, 0.8])
      >>> round(interval.mean, 3), bool(0.5 < interval.low < interval.high < 0.8)
      (0.65, True)
    """
    data = as_vector("values", values)
    if len(data) == 1:
        return Interval(float(data[0]), np.nan, np.nan)
    means = data[resamples(len(data), num_resamples, seed)].mean(-1)
    return Interval(float(data.mean()), *middle(means, confidence))


def wilcoxon_p(treatment: ArrayLike, baseline: ArrayLike) -> float:
    """Returns the two-sided p-value of Wilcoxon's signed ranks, exact for few pairs.

    Args:
      treatment: `[n]`, one value a seed.
      baseline: `[n]`, the same seeds in the same order.

    Returns:
      1 where all differences are zero. Of five pairs it is never below 0.0625.

    Example:
      >>> from jaxal import wilcoxon_p
      >>> wilcoxon_p([2.0, 3.5, 4.0, 5.2, 6.1], [1.0, 2.0, 3.1, 4.0, 5.0])
      0.0625
    """
    from scipy import stats

    difference = np.asarray(treatment, float) - np.asarray(baseline, float)
    if not difference.any():
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Returns p-values corrected for their number, by Holm's steps.

    The chance that any of the null hypotheses which are true is rejected, by comparing
    what is returned with a level, is at most that level.

    Args:
      p_values: `[m]`; NaN, of what could not be tested, stays and is not counted.

    Returns:
      `[m]`, at most 1.

    Example:
      >>> from jaxal import holm
      >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
      [0.03, 0.06, 0.06]

    Reference:
      Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian
      Journal of Statistics 1979. https://www.jstor.org/stable/4615733
    """
    p = np.asarray(p_values, np.float64)
    found, tested = np.full(p.shape, np.nan), np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return found


def seeds_needed(
    differences: ArrayLike, effect: float, *, level: float = 0.05, power: float = 0.8
) -> int:
    """Returns how many pairs a paired t-test needs to see a difference.

    Args:
      differences: `[n]` of pairs so far, at least two, which say how far they spread.
      effect: the true difference that is to be seen, not zero.
      level: of the test, two-sided.
      power: probability of seeing it.

    Raises:
      ValueError: there are fewer than two pairs, or the effect is zero.

    Example:
      >>> from jaxal import seeds_needed
      >>> seeds_needed([-1.0, 1.0, 2.0, 0.0], effect=1.0)
      16
    """
    from scipy import stats

    data = np.asarray(differences, np.float64)
    if data.size < 2 or effect == 0:
        raise ValueError(f"{data.size} pairs, effect {effect}: expected 2, and not 0.")
    size = abs(effect) / max(float(data.std(ddof=1)), np.finfo(float).tiny)

    def sees(count: int) -> bool:
        bound = stats.t.isf(level / 2, count - 1)
        shift = min(size * np.sqrt(count), 1e3)
        return bool(stats.nct.sf(bound, count - 1, shift) >= power)

    high = 2
    while not sees(high):
        high *= 2
        if high > 1 << 24:
            return high
    low = high // 2
    while low + 1 < high:  # more seeds see more
        middle = (low + high) // 2
        low, high = (low, middle) if sees(middle) else (middle, high)
    return high


def resamples(size: int, count: int, seed: int) -> np.ndarray:
    """Returns rows drawn with replacement, `[count, size]`."""
    return np.random.default_rng(seed).integers(size, size=(count, size))


def middle(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The ends of the middle part of values, some of which may be infinite."""
    ordered = np.sort(values)
    outside = (1 - confidence) / 2 * (len(ordered) - 1)
    low, high = int(np.floor(outside)), int(np.ceil(len(ordered) - 1 - outside))
    return float(ordered[low]), float(ordered[high])
