"""Was the choice worth it: intervals, paired tests, areas and label savings.

All of it is NumPy on the host, over `[R]` rounds and seeds; a seed is a trial of
everything, so runs of two strategies with one seed are a pair.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Interval(NamedTuple):
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float


class PairedTest(NamedTuple):
    """What a paired t-test says of a difference."""

    mean: float  # mean of treatment - baseline
    low: float  # lower end of the interval
    high: float  # upper end
    t: float  # Student's t statistic
    p_value: float  # two-sided
    num_pairs: int


def mean_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval:
    r"""Returns a mean with its Student interval over independent runs.

    $\bar x \pm t_{n-1} s / \sqrt n$, with $s$ the sample standard deviation.

    Args:
      values: `[n]`, one a seed.
      confidence: probability of the interval.

    Returns:
      An `Interval`; with one value its ends are NaN, for nothing is known of them.

    Raises:
      ValueError: there is no value.

    Example:
      >>> from jaxal import mean_interval
      >>> interval = mean_interval([0.5, 0.6, 0.7])
      >>> round(interval.mean, 3), round(interval.low, 3), round(interval.high, 3)
      (0.6, 0.352, 0.848)
    """
    data = as_vector("values", values)
    if len(data) == 1:
        return Interval(float(data[0]), np.nan, np.nan)
    half = _t_quantile(confidence, len(data)) * data.std(ddof=1) / np.sqrt(len(data))
    mean = float(data.mean())
    return Interval(mean, mean - float(half), mean + float(half))


def paired_difference(
    treatment: ArrayLike, baseline: ArrayLike, *, confidence: float = 0.95
) -> PairedTest:
    r"""Returns the mean difference of runs paired by seed, and a t-test of it.

    Args:
      treatment: `[n]`, one value a seed.
      baseline: `[n]`, the same seeds in the same order.
      confidence: probability of the interval.

    Returns:
      A `PairedTest`. With all differences equal, t is infinite and p zero, or NaN
      and one where they are all zero; with one pair nothing but the mean is known.

    Raises:
      ValueError: the two have different lengths, or are empty.

    Example:
      >>> from jaxal import paired_difference
      >>> test = paired_difference([0.6, 0.7, 0.8], [0.5, 0.5, 0.7])
      >>> round(test.mean, 4), round(test.t, 4), round(test.p_value, 4)
      (0.1333, 4.0, 0.0572)
    """
    from scipy import stats

    a, b = as_vector("treatment", treatment), as_vector("baseline", baseline)
    if len(a) != len(b):
        raise ValueError(
            f"treatment has {len(a)} values and baseline {len(b)}; pair them by seed, "
            "and leave out the seeds only one of them has."
        )
    difference = a - b
    interval = mean_interval(difference, confidence=confidence)
    if len(difference) == 1:
        return PairedTest(*interval, np.nan, np.nan, 1)
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    if error == 0:
        t = float(np.sign(interval.mean) * np.inf) if interval.mean else np.nan
        return PairedTest(*interval, t, 0.0 if interval.mean else 1.0, len(a))
    t = interval.mean / float(error)
    p_value = 2 * float(stats.t.sf(abs(t), len(difference) - 1))
    return PairedTest(*interval, t, p_value, len(a))


def area_under_curve(
    num_labels: ArrayLike, values: ArrayLike, *, log: bool = False
) -> float:
    """Returns the mean height of a learning curve: its area over its width.

    Args:
      num_labels: `[R]` labels used, increasing.
      values: `[R]` accuracies.
      log: over the logarithm of labels, so that each doubling counts as much.

    Returns:
      The trapezoidal area divided by the width, in the units of the values.

    Raises:
      ValueError: the lengths differ, or the labels do not increase.

    Example:
      >>> from jaxal import area_under_curve
      >>> round(area_under_curve([100, 200, 400], [0.2, 0.4, 0.6]), 4)
      0.4333
    """
    x, y = _curve(num_labels, values)
    x = np.log(x) if log else x
    if len(x) == 1:
        return float(y[0])
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


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
    x, y = _curve(num_labels, values)
    reached = np.flatnonzero(y >= target)
    if reached.size == 0:
        return None
    i = int(reached[0])
    if i == 0:
        return float(x[0])
    share = (target - y[i - 1]) / (y[i] - y[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1]))


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


def _t_quantile(confidence: float, num_values: int) -> float:
    from scipy import stats  # slow to import, and no importer needs it

    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected between 0 and 1.")
    return float(stats.t.ppf(0.5 + confidence / 2, num_values - 1))


def as_vector(name: str, values: ArrayLike) -> np.ndarray:
    """Returns values `[n]` in float64, or says that they are none."""
    data = np.asarray(values, np.float64)
    if data.ndim != 1 or data.size == 0:
        raise ValueError(
            f"{name} has shape {list(data.shape)}, expected [n], at least one value."
        )
    return data


def _curve(num_labels: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = as_vector("num_labels", num_labels), as_vector("values", values)
    if len(x) != len(y):
        raise ValueError(f"num_labels has {len(x)} values and values has {len(y)}.")
    if (np.diff(x) <= 0).any():
        raise ValueError("num_labels must increase; sort the rounds and merge repeats.")
    return x, y
