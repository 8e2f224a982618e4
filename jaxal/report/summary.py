"""The numbers of a comparison."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from jaxal.comparisons import bootstrap_interval
from jaxal.report import measures
from jaxal.report.axes import Prices, spent
from jaxal.report.gathering import Group, common_labels, values_at
from jaxal.report.options import ReportOptions
from jaxal.report.pairing import FEWEST_DRAWN, against, aligned, areas, correct, pairs
from jaxal.report.reading import Run
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record
from jaxal.standings import standing
from jaxal.statistics import Interval, mean_interval, median_bands
from jaxal.targets import target_interval

INTERVALS = {"student": mean_interval, "bootstrap": bootstrap_interval}
PHASES = ("train", "evaluate", "score", "select", "label")
RANDOM = "random"
USUAL = ReportOptions()


def summarise(group: Group, options: ReportOptions = USUAL) -> Record:
    """Returns the numbers of a comparison; nothing in it is rounded.

    Args:
      group: comparable runs.
      options: what is asked of them; of a target that is not said, the baseline's mean
        at the largest common budget, or the worst side's where there is no baseline.

    Returns:
      `labels`, `target` and a record for each side.

    Raises:
      RunError: a budget at which not every run was measured, or a target beyond what
        the metric can be.
    """
    labels, measure, prices = common_labels(group), group.measure, options.prices
    shown = _budgets(labels, options.budgets)
    up = aligned(group, labels)
    name = RANDOM if options.baseline is None else options.baseline
    base = up.get(name)
    goal = _goal(group, labels, name, options.target)
    sides = {
        side: {
            **_levels(group, runs, labels, shown, INTERVALS[options.interval]),
            **_spending(runs, labels, goal, measure.sign, prices),
            "seconds": _seconds(runs),
            **against(group, up[side], None if side == name else base, labels, options),
        }
        for side, runs in group.curves.items()
    }
    correct(sides)
    return {
        "title": group.title,
        "settings": group.shared,
        "metric": measure.name,
        "compare": group.compare,
        "interval": options.interval,
        "middle": options.middle,
        "log": options.log,
        "axis": options.axis,
        "labels": labels,
        "budgets": shown,
        "target": goal,
        "baseline": name if base is not None else None,
        "ceiling": _ceiling(group),
        "prices": prices._asdict() if prices.are_given else None,
        "strategies": sides,
        "pairs": pairs(up, labels, options.log),
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
