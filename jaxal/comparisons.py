"""Many strategies side by side: corrected tests, who beats whom, labels saved.

All of it is NumPy on the host. Curves are `[n, R]`, a row a seed; the same row of two
strategies is a pair.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxal.statistics import Interval, as_vector, paired_difference

_BEYOND = np.inf  # labels to a target that a curve does not reach


class Standing(NamedTuple):
    """Who beat whom, over pairs of strategies."""

    names: tuple[str, ...]
    penalties: np.ndarray  # [M, M], how often the column beat the row, in 0 .. 1
    wins: np.ndarray  # [M] comparisons that the strategy won
    losses: np.ndarray  # [M]
    num_compared: int  # comparisons of a pair


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
    means = data[_resamples(len(data), num_resamples, seed)].mean(-1)
    return Interval(float(data.mean()), *_middle(means, confidence))


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
    whole = _saved(x, mine.mean(0)[None], base.mean(0)[None], target)[0]
    if len(mine) == 1:
        return Interval(float(whole), np.nan, np.nan)
    draws = _resamples(len(mine), num_resamples, seed)
    saved = _saved(x, mine[draws].mean(1), base[draws].mean(1), target)
    saved = np.where(np.isnan(saved), 0, saved)  # neither: no difference was seen
    return Interval(float(whole), *_middle(saved, confidence))


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


def standing(
    curves: Mapping[str, ArrayLike], *, level: float = 0.05, first: int = 1
) -> Standing:
    r"""Returns how often each strategy beat each other one, over budgets.

    For every label budget a two-sided paired t-test compares two strategies by seed; a
    rejection counts $1 / L$ against the one with the lower mean, $L$ being the number
    of budgets.

    Args:
      curves: `[n, R]` of each strategy, the same seeds and budgets in the same order.
      level: of each test, not corrected; the paper's.
      first: budgets before it are left out: the initial set is nobody's merit.

    Raises:
      ValueError: shapes differ.

    Example:
      >>> import numpy as np
      >>> from jaxal import standing
      >>> low = np.array([[0.1, 0.20], [0.1, 0.31], [0.1, 0.42]])
      >>> found = standing({"random": low, "better": low + [[0.0, 0.1]]})
      >>> found.penalties.tolist(), found.wins.tolist()
      ([[0.0, 1.0], [0.0, 0.0]], [0, 1])

    Reference:
      Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
      Bounds", ICLR 2020. https://arxiv.org/abs/1906.03671
    """
    names, found = tuple(curves), [np.asarray(c, float) for c in curves.values()]
    if len({c.shape for c in found}) > 1 or found[0].ndim != 2:
        shapes = {name: list(c.shape) for name, c in zip(names, found, strict=True)}
        raise ValueError(f"curves have shapes {shapes}, expected one shape [n, R].")
    budgets = range(min(first, found[0].shape[1] - 1), found[0].shape[1])
    beaten = np.zeros((len(names), len(names)))
    for i, mine in enumerate(found):
        for j, other in enumerate(found):
            tests = [paired_difference(mine[:, b], other[:, b]) for b in budgets]
            beaten[i, j] = sum(t.mean < 0 and t.p_value < level for t in tests)
    wins, losses = beaten.sum(0).astype(int), beaten.sum(1).astype(int)
    return Standing(names, beaten / len(budgets), wins, losses, len(budgets))


def _resamples(size: int, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(size, size=(count, size))


def _middle(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The ends of the middle part of values, some of which may be infinite."""
    ordered = np.sort(values)
    outside = (1 - confidence) / 2 * (len(ordered) - 1)
    low, high = int(np.floor(outside)), int(np.ceil(len(ordered) - 1 - outside))
    return float(ordered[low]), float(ordered[high])


def _saved(
    x: np.ndarray, mine: np.ndarray, base: np.ndarray, target: float | None
) -> np.ndarray:
    """Shares saved of mean curves `[B, R]`."""
    goals = base[:, -1] if target is None else np.full(len(base), target)
    needed, usual = _reached(x, mine, goals), _reached(x, base, goals)
    is_known = np.isfinite(usual) | np.isfinite(needed)
    most = np.where(np.isfinite(usual), usual, x[-1])
    share = np.where(np.isfinite(needed), 1 - needed / most, -np.inf)
    return np.where(is_known, share, np.nan)


def _reached(x: np.ndarray, curves: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """Labels at which curves `[B, R]` first reach their goals, infinite for never."""
    is_there = curves >= goals[:, None]
    first = is_there.argmax(1)
    before = np.maximum(first - 1, 0)
    rows = np.arange(len(curves))
    low, high = curves[rows, before], curves[rows, first]
    rise = np.where(high > low, high - low, 1)
    share = np.clip((goals - low) / rise, 0, 1)
    at = x[before] + share * (x[first] - x[before])
    return np.where(is_there.any(1), np.where(first == 0, x[0], at), _BEYOND)
