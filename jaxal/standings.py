"""Who beats whom: every pair of strategies, over budgets and data sets.

All of it is NumPy on the host. The same row of two strategies is a pair, such as a
seed; a row of NaN is a seed that a strategy was not run with.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxal.comparisons import holm, wilcoxon_p
from jaxal.statistics import paired_difference


class Standing(NamedTuple):
    """Who beat whom, over pairs of strategies."""

    names: tuple[str, ...]
    penalties: np.ndarray  # [M, M], how often the row beat the column; in 0 .. 1 a set
    wins: np.ndarray  # [M] comparisons that the strategy won
    ties: np.ndarray  # [M] that nobody won
    losses: np.ndarray  # [M]
    num_compared: int  # comparisons of a pair


class PairedTests(NamedTuple):
    """Tests of all pairs."""

    names: tuple[str, ...]
    differences: np.ndarray  # [M, M] mean of row - column; NaN without pairs
    p_values: np.ndarray  # [M, M] corrected for their number; NaN on the diagonal


def standing(
    curves: Mapping[str, ArrayLike], *, level: float = 0.05, first: int = 1
) -> Standing:
    r"""Returns how often each strategy beat each other one, over budgets.

    For every label budget a two-sided paired t-test compares two strategies by seed; a
    rejection counts $1 / L$ for the one with the higher mean, in its row and the
    other's column, $L$ being the number of budgets. The lower the mean of a column, the
    better.

    Args:
      curves: `[n, R]` of each strategy, the same seeds and budgets in the same order;
        NaN where a seed was not run.
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
      ([[0.0, 0.0], [1.0, 0.0]], [0, 1])

    Reference:
      Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
      Bounds", ICLR 2020. https://arxiv.org/abs/1906.03671
    """
    names, found = tuple(curves), [np.asarray(c, float) for c in curves.values()]
    if len({c.shape for c in found}) > 1 or found[0].ndim != 2:
        shapes = {name: list(c.shape) for name, c in zip(names, found, strict=True)}
        raise ValueError(f"curves have shapes {shapes}, expected one shape [n, R].")
    found = [c[:, min(first, c.shape[1] - 1) :] for c in found]
    count = found[0].shape[1]
    beaten = np.array([[_times(a, b, level) for b in found] for a in found])
    return _standing(names, beaten, beaten / count, count)


def total_standing(standings: Sequence[Standing]) -> Standing:
    """Returns the sum of standings on several data sets, or with several networks.

    Args:
      standings: of the strategies that all of them have.

    Returns:
      A `Standing` whose penalties are sums: at most the number of data sets.

    Raises:
      ValueError: there is none, or no strategy that is in all.

    Example:
      >>> import numpy as np
      >>> from jaxal import standing, total_standing
      >>> low = np.array([[0.1, 0.20], [0.1, 0.31], [0.1, 0.42]])
      >>> one = standing({"random": low, "better": low + [[0.0, 0.1]]})
      >>> total_standing([one, one]).penalties.tolist()
      [[0.0, 0.0], [2.0, 0.0]]
    """
    shared = [
        name
        for name in (standings[0].names if standings else ())
        if all(name in one.names for one in standings)
    ]
    if not shared:
        raise ValueError(f"{len(standings)} standings have no strategy in common.")
    parts = []
    for one in standings:
        rows = np.array([one.names.index(name) for name in shared])
        parts.append((one.penalties[np.ix_(rows, rows)], one.num_compared))
    beaten = np.sum([np.rint(p * count).astype(int) for p, count in parts], axis=0)
    penalties = np.sum([p for p, _ in parts], axis=0)
    return _standing(tuple(shared), beaten, penalties, sum(n for _, n in parts))


def pairwise_tests(
    values: Mapping[str, ArrayLike], *, ranks: bool = False
) -> PairedTests:
    """Returns a paired test of every pair of strategies, corrected for their number.

    Args:
      values: `[n]` of each strategy, such as areas, the same seeds in the same order;
        NaN where a seed was not run.
      ranks: Wilcoxon's signed ranks in place of Student's t.

    Returns:
      `PairedTests`; p-values are Holm's over all pairs.

    Raises:
      ValueError: lengths differ.

    Example:
      >>> from jaxal import pairwise_tests
      >>> areas = {"a": [1.0, 2, 3], "b": [1.5, 2.4, 3.6], "c": [0.0, 3, 2]}
      >>> tests = pairwise_tests(areas)
      >>> tests.p_values[0].round(3).tolist(), round(float(tests.differences[0, 1]), 3)
      ([nan, 0.039, 0.73], -0.5)
    """
    names = tuple(values)
    data = [np.asarray(v, float) for v in values.values()]
    if len({v.shape for v in data}) > 1 or (data and data[0].ndim != 1):
        shapes = {name: list(v.shape) for name, v in zip(names, data, strict=True)}
        raise ValueError(f"values have shapes {shapes}, expected one length [n].")
    size = len(names)
    differences, p_values = np.full((2, size, size), np.nan)
    upper = np.triu_indices(size, 1)
    for i, j in zip(*upper, strict=True):
        is_pair = np.isfinite(data[i]) & np.isfinite(data[j])
        if is_pair.any():
            test = paired_difference(data[i][is_pair], data[j][is_pair])
            differences[i, j], differences[j, i] = test.mean, -test.mean
            p_values[i, j] = test.p_value
            if ranks and test.num_pairs > 1:
                p_values[i, j] = wilcoxon_p(data[i][is_pair], data[j][is_pair])
    p_values[upper] = holm(p_values[upper])
    p_values.T[upper] = p_values[upper]
    return PairedTests(names, differences, p_values)


def _standing(
    names: tuple[str, ...], beaten: np.ndarray, penalties: np.ndarray, compared: int
) -> Standing:
    wins, losses = beaten.sum(1), beaten.sum(0)
    ties = (len(names) - 1) * compared - wins - losses
    return Standing(names, penalties, wins, ties, losses, compared)


def _times(mine: np.ndarray, other: np.ndarray, level: float) -> int:
    """At how many budgets one is higher, by a paired t-test at each."""
    from scipy import stats

    difference = mine - other  # [n, R]
    difference = difference[np.isfinite(difference).all(1)]
    if len(difference) < 2:
        return 0
    bound = stats.t.isf(level / 2, len(difference) - 1)
    return int((difference.mean(0) > bound * stats.sem(difference)).sum())
