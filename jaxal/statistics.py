"""Was the choice worth it: intervals, bands, paired tests and areas.

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


class Bands(NamedTuple):
    """A median, and the ends of the bands that shares of all runs lie in."""

    median: np.ndarray  # [...]
    low: np.ndarray  # [B, ...], a row a share
    high: np.ndarray  # [B, ...]


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
      ValueError: the lengths differ, the labels do not increase, or they begin with
        none, whose logarithm is asked for.

    Example:
      >>> from jaxal import area_under_curve
      >>> round(area_under_curve([100, 200, 400], [0.2, 0.4, 0.6]), 4)
      0.4333
    """
    x, y = as_curve(num_labels, values)
    if log and x[0] <= 0:
        raise ValueError(f"num_labels begins with {x[0]:g}, which has no logarithm.")
    x = np.log(x) if log else x
    if len(x) == 1:
        return float(y[0])
    return float(np.diff(x) @ (y[1:] + y[:-1]) / 2 / (x[-1] - x[0]))


def median_bands(
    values: ArrayLike, *, shares: tuple[float, ...] = (0.68, 0.95)
) -> Bands:
    """Returns the median of runs, and the bands that the middle of them lie in.

    Bands say how far runs spread, and intervals how well a mean is known: with more
    seeds the one stays and the other shrinks.

    Args:
      values: `[n, ...]`, a row a seed.
      shares: of the runs within each band, such as the middle 68 %.

    Returns:
      `Bands`; quantiles are interpolated linearly.

    Raises:
      ValueError: there is no row, or a share is not between 0 and 1.

    Example:
      >>> import numpy as np
      >>> from jaxal import median_bands
      >>> bands = median_bands(np.arange(101.0))
      >>> float(bands.median), bands.low.round(1).tolist()
      (50.0, [16.0, 2.5])
    """
    data, inside = np.asarray(values, np.float64), np.asarray(shares, np.float64)
    if data.ndim == 0 or len(data) == 0:
        raise ValueError(f"values has shape {list(data.shape)}, expected [n, ...].")
    if not ((inside > 0) & (inside < 1)).all():
        raise ValueError(f"shares is {shares}, expected numbers between 0 and 1.")
    low, high = np.quantile(data, [(1 - inside) / 2, (1 + inside) / 2], axis=0)
    return Bands(np.median(data, axis=0), low, high)


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


def as_curve(num_labels: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns both `[R]` in float64, or says why they are no curve."""
    x, y = as_vector("num_labels", num_labels), as_vector("values", values)
    if len(x) != len(y):
        raise ValueError(f"num_labels has {len(x)} values and values has {len(y)}.")
    if (np.diff(x) <= 0).any():
        raise ValueError("num_labels must increase; sort the rounds and merge repeats.")
    return x, y
