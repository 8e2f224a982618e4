"""The numbers of a comparison."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from jaxal.comparisons import bootstrap_interval
from jaxal.report import measures
from jaxal.report.axes import Prices, spent
from jaxal.report.gathering import Group, common_labels, values_at
from jaxal.report.pairing import FEWEST_DRAWN, against, aligned, areas, correct, pairs
from jaxal.report.reading import Run
from jaxal.runs.store import Record, RunError
from jaxal.standings import standing
from jaxal.statistics import Interval, mean_interval, median_bands
from jaxal.targets import target_interval

INTERVALS = {"student": mean_interval, "bootstrap": bootstrap_interval}
PHASES = ("train", "evaluate", "score", "select", "label")
RANDOM = "random"


def summarise(
    group: Group,
    *,
    baseline: str | None = None,
    target: float | None = None,
    budgets: Sequence[int] = (),
    effect: float | None = None,
    interval: str = "student",
    middle: str = "mean",
    log: bool = False,
    axis: str = "labels",
    prices: Prices = Prices(),  # noqa: B008 it is a constant
) -> Record:
    """Returns the numbers of a comparison; nothing in it is rounded.

    Args:
      group: comparable runs.
      baseline: the side others are paired with, by seed; by default random.
      target: of the metric, to reach; by default what the baseline's mean reaches at
        the largest common budget, or the worst side's where there is no baseline.
      budgets: label counts to show; by default the first, middle and last common one.
      effect: difference that enough seeds would see; by default the one found.
      interval: one of `INTERVALS`, of means.
      middle: "mean" or "median", for tables and figures; there is always both.
      log: whether doublings of the labels count alike, in areas.
      axis: what figures are drawn over.
      prices: of a label and of an hour, for the money to the target.

    Returns:
      `labels`, `target` and a record for each side.

    Raises:
      RunError: a budget at which not every run was measured, or a target beyond what
        the metric can be.
    """
    labels, measure = common_labels(group), group.measure
    shown = _budgets(labels, budgets)
    up = aligned(group, labels)
    name = RANDOM if baseline is None else baseline
    base = up.get(name)
    goal = _goal(group, labels, name, target)
    sides = {
        side: {
            **_levels(group, runs, labels, shown, INTERVALS[interval]),
            **_spending(runs, labels, goal, measure.sign, prices),
            "seconds": _seconds(runs),
            **against(
                group,
                up[side],
                None if side == name else base,
                labels,
                effect,
                target,
                log,
            ),
        }
        for side, runs in group.curves.items()
    }
    correct(sides)
    return {
        "title": group.title,
        "settings": group.shared,
        "metric": measure.name,
        "compare": group.compare,
        "interval": interval,
        "middle": middle,
        "log": log,
        "axis": axis,
        "labels": labels,
        "budgets": shown,
        "target": goal,
        "baseline": name if base is not None else None,
        "ceiling": _ceiling(group),
        "prices": prices._asdict() if prices.are_given else None,
        "strategies": sides,
        "pairs": pairs(up, labels, log),
        "standing": _standing(up),
        "notes": group.notes,
    }


def _budgets(labels: np.ndarray, asked: Sequence[int]) -> list[int]:
    if not asked:
        chosen = {labels[0], labels[len(labels) // 2], labels[-1]}
        return sorted(int(label) for label in chosen)
    for budget in asked:
        if budget not in labels:
            raise RunError(
                f"Not every run was measured with {budget} labels. "
                f"All of them were with {labels.tolist()}."
            )
    return list(asked)


def _goal(
    group: Group, labels: np.ndarray, baseline: str, target: float | None
) -> float:
    measure = group.measure
    if target is None:
        ends = {
            name: measure.sign * float(values_at(runs, labels).mean(0)[-1])
            for name, runs in group.curves.items()
        }
        return measure.sign * ends.get(baseline, min(ends.values()))
    if measure.is_share and not 0 <= target <= 1:
        raise RunError(
            f"--target is {target:g}: {measure.name} is between 0 and 1, so write 70 % "
            "as 0.7."
        )
    return target


def _levels(
    group: Group,
    runs: list[Run],
    labels: np.ndarray,
    shown: list[int],
    interval: Callable[..., Interval],
) -> Record:
    """How good a side is at each label count and over all."""
    curves = values_at(runs, labels)
    bands = median_bands(curves)
    at = {
        int(label): {
            **interval(column)._asdict(),
            "se": standard_error(column),
            "median": float(bands.median[i]),
            "low_68": float(bands.low[0, i]),
            "high_68": float(bands.high[0, i]),
            "low_95": float(bands.low[1, i]),
            "high_95": float(bands.high[1, i]),
        }
        for i, (label, column) in enumerate(zip(labels, curves.T, strict=True))
    }
    ends = [measures.class_values(run.rounds[-1]) for run in runs]
    same = len({len(end) for end in ends}) == 1 and ends[0]
    return {
        "seeds": [run.seed for run in runs],
        "values": at,
        "at_budgets": {label: at[label] for label in shown},
        "area": interval(areas(labels, curves))._asdict(),
        "area_log": interval(areas(labels, curves, log=True))._asdict()
        if labels[0] > 0
        else None,
        "of_ceiling": _share_of(group, float(curves[:, -1].mean())),
        "classes": [interval(c)._asdict() for c in zip(*ends, strict=True)]
        if same
        else [],
    }


def standard_error(values: np.ndarray) -> float:
    """Returns the standard error of a mean, NaN of a single value."""
    from scipy import stats

    return float(stats.sem(values)) if len(values) > 1 else math.nan


def _standing(up: dict[str, np.ndarray]) -> Record | None:
    """Who beat whom, of those with seeds to say so."""
    tested = {n: c for n, c in up.items() if np.isfinite(c).all(1).sum() > 1}
    if len(tested) < 2 or next(iter(tested.values())).shape[1] < 2:
        return None
    return standing(tested)._asdict()


def _ceiling(group: Group) -> Record | None:
    if not group.ceiling:
        return None
    ends = [run.values[-1] for run in group.ceiling]
    return {**mean_interval(ends)._asdict(), "labels": int(group.ceiling[0].labels[-1])}


def _share_of(group: Group, value: float) -> float | None:
    ceiling = _ceiling(group)
    if ceiling is None or not group.measure.is_higher_better or ceiling["mean"] <= 0:
        return None
    return value / ceiling["mean"]


def _spending(
    runs: list[Run], labels: np.ndarray, goal: float, sign: int, prices: Prices
) -> Record:
    """Labels, and money, until the mean gets to the target."""
    curves = sign * values_at(runs, labels)
    goal = sign * goal
    found = {"labels_to_target": target_interval(labels, curves, goal)._asdict()}
    if prices.are_given:
        money = spent(runs, labels, "cost", prices)
        found["money_to_target"] = target_interval(money, curves, goal)._asdict()
    if len(runs) < FEWEST_DRAWN:
        for interval in found.values():
            interval |= {"low": math.nan, "high": math.nan}
    return found


def _seconds(runs: list[Run]) -> Record:
    """Of a whole run by phase, the mean over seeds."""
    named = {name for run in runs for r in run.rounds for name in r["seconds"]}
    phases = [p for p in PHASES if p in named] + sorted(named - {*PHASES})
    return {
        phase: float(
            np.mean([sum(r["seconds"].get(phase, 0.0) for r in x.rounds) for x in runs])
        )
        for phase in phases
    }
