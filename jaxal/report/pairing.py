"""Sides of a comparison in pairs: the same seed on the same pool."""

import math
from collections.abc import Iterable

import numpy as np

from jaxal.comparisons import holm, seeds_needed, wilcoxon_p
from jaxal.report.gathering import Group
from jaxal.report.options import ReportOptions
from jaxal.runs.store import Record
from jaxal.standings import pairwise_tests, standing
from jaxal.statistics import area_under_curve, paired_difference
from jaxal.targets import savings_interval

FEWEST_DRAWN = 5  # seeds; drawn from fewer, an interval says too much


def aligned(group: Group, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the curves of each side `[n, R]`, a row a trial; higher is better.

    Args:
      group: comparable runs.
      labels: `[R]` label counts that all of them have.

    Returns:
      Rows of NaN where a side has no run of a trial.
    """
    every = [run for members in group.curves.values() for run in members]
    trials = sorted({(run.seed, run.settings["pool"]) for run in every})
    found = {name: np.full((len(trials), len(labels)), np.nan) for name in group.curves}
    for name, runs in group.curves.items():
        for run in runs:
            row = trials.index((run.seed, run.settings["pool"]))
            found[name][row] = group.measure.sign * run.at(labels)
    return found


def areas(
    labels: np.ndarray, curves: Iterable[np.ndarray], *, log: bool = False
) -> list[float]:
    """Returns the mean height of each curve, NaN of one that was not run."""
    return [
        area_under_curve(labels, curve, log=log) if np.isfinite(curve).all() else np.nan
        for curve in curves
    ]


def against(
    group: Group,
    mine: np.ndarray,
    base: np.ndarray | None,
    labels: np.ndarray,
    options: ReportOptions,
) -> Record:
    """Returns differences, savings and a record of wins over trials that both have.

    Args:
      group: whose metric it is.
      mine: `[n, R]` from `aligned`.
      base: `[n, R]`, None where there is nothing to compare with.
      labels: `[R]`.
      options: which effect and target, and whether areas are of doublings.
    """
    none: Record = {"paired": None, "savings": None, "record": None}
    if base is None:
        return none
    is_pair = np.isfinite(mine).all(1) & np.isfinite(base).all(1)
    if not is_pair.any():
        return none
    mine, base, sign = mine[is_pair], base[is_pair], group.measure.sign
    whole = [sign * np.array(areas(labels, c, log=options.log)) for c in (mine, base)]
    tests = {
        "area": _paired(whole[0], whole[1], options.effect),
        "last": _paired(sign * mine[:, -1], sign * base[:, -1], options.effect),
    }
    goal = None if options.target is None else sign * options.target
    saved = savings_interval(labels, mine, base, target=goal)
    if len(mine) < FEWEST_DRAWN:
        saved = saved._replace(low=math.nan, high=math.nan)
    told, record = standing({"mine": mine, "base": base}), None
    if len(mine) > 1:
        record = {"wins": told.wins[0], "ties": told.ties[0], "losses": told.losses[0]}
    return {"paired": tests, "savings": saved._asdict(), "record": record}


def correct(sides: Record) -> None:
    """Adds p-values corrected for the number of sides, for each measure."""
    tested = [one["paired"] for one in sides.values() if one["paired"]]
    for measure in ("area", "last"):
        for p_value, holms in (("p_value", "p_holm"), ("wilcoxon_p", "wilcoxon_holm")):
            found = holm([one[measure][p_value] for one in tested])
            for one, value in zip(tested, found.tolist(), strict=True):
                one[measure][holms] = value


def pairs(up: dict[str, np.ndarray], labels: np.ndarray, log: bool = False) -> Record:
    """Returns tests of all pairs by area; positive where the row is better."""
    return pairwise_tests(
        {n: areas(labels, c, log=log) for n, c in up.items()}
    )._asdict()


def _paired(mine: np.ndarray, base: np.ndarray, effect: float | None) -> Record:
    test = paired_difference(mine, base)
    seen = test.mean if effect is None else effect
    has_spread = len(mine) > 1
    return {
        **test._asdict(),
        "wilcoxon_p": wilcoxon_p(mine, base) if has_spread else math.nan,
        "seeds_needed": seeds_needed(mine - base, seen)
        if has_spread and seen
        else None,
    }
