"""The numbers of a comparison."""

from collections.abc import Sequence

import numpy as np

from jaxal.comparisons import holm, savings_interval
from jaxal.report.gathering import Group, Run, accuracies, common_labels
from jaxal.runs.store import Record, RunError
from jaxal.statistics import (
    area_under_curve,
    label_savings,
    labels_to_target,
    mean_interval,
    paired_difference,
)

FEWEST_DRAWN = 5  # seeds; drawn from fewer, an interval says too much
PHASES = ("train", "evaluate", "score", "select")


def summarise(
    group: Group,
    *,
    baseline: str = "random",
    target: float | None = None,
    budgets: Sequence[int] = (),
) -> Record:
    """Returns the numbers of a comparison; nothing in it is rounded.

    Args:
      group: comparable runs.
      baseline: the strategy others are paired with, by seed.
      target: accuracy in (0, 1] to reach; by default what the baseline's mean reaches
        at the largest common budget, or the worst strategy's where there is none.
      budgets: label counts to show; by default the first, middle and last common one.

    Returns:
      `labels`, `target` and a record for each strategy.

    Raises:
      RunError: a budget at which not every run was measured.
    """
    labels = common_labels(group)
    shown = _budgets(labels, budgets)
    curves = {name: accuracies(runs, labels) for name, runs in group.curves.items()}
    goal = _target(curves, baseline) if target is None else target
    base = group.curves.get(baseline)
    needed_base = None if base is None else _needed(labels, curves[baseline], goal)
    strategies = {
        name: _strategy(labels, shown, curves[name], runs, goal, base, needed_base)
        for name, runs in group.curves.items()
    }
    _correct(strategies)
    for name, runs in group.curves.items():
        strategies[name]["savings"] = _savings(labels, runs, base, target)
    return {
        "title": group.title,
        "settings": group.shared,
        "labels": labels,
        "budgets": shown,
        "target": goal,
        "baseline": baseline if base is not None else None,
        "strategies": strategies,
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


def _target(curves: dict[str, np.ndarray], baseline: str) -> float:
    ends = {name: float(curve[:, -1].mean()) for name, curve in curves.items()}
    return ends.get(baseline, min(ends.values()))


def _needed(labels: np.ndarray, curves: np.ndarray, target: float) -> float | None:
    """Labels at which the mean curve reaches the target."""
    return labels_to_target(labels, curves.mean(axis=0), target)


def _strategy(
    labels: np.ndarray,
    shown: list[int],
    curves: np.ndarray,
    runs: list[Run],
    target: float,
    base: list[Run] | None,
    needed_base: float | None,
) -> Record:
    needed = _needed(labels, curves, target)
    areas = [area_under_curve(labels, curve) for curve in curves]
    at = {
        int(label): mean_interval(values)._asdict()
        for label, values in zip(labels, curves.T, strict=True)
    }
    return {
        "seeds": [run.settings["seed"] for run in runs],
        "accuracy": at,
        "accuracy_at_budgets": {label: at[label] for label in shown},
        "area": mean_interval(areas)._asdict(),
        "labels_to_target": needed,
        "label_savings": label_savings(needed, needed_base),
        "seconds": _seconds(runs),
        "paired": None if base is None else _paired(labels, runs, base),
    }


def _seconds(runs: list[Run]) -> Record:
    def spent(run: Run, phase: str) -> float:
        return sum(record["seconds"].get(phase, 0.0) for record in run.rounds)

    return {phase: float(np.mean([spent(r, phase) for r in runs])) for phase in PHASES}


def _savings(
    labels: np.ndarray, runs: list[Run], base: list[Run] | None, target: float | None
) -> Record | None:
    """The share of labels saved over the seeds both have, with its interval."""
    pairs = [] if base is None or runs is base else _pairs(runs, base)
    if not pairs:
        return None
    mine, theirs = (accuracies(list(side), labels) for side in zip(*pairs, strict=True))
    found = savings_interval(labels, mine, theirs, target=target)
    if len(pairs) < FEWEST_DRAWN:
        found = found._replace(low=np.nan, high=np.nan)
    return found._asdict()


def _correct(strategies: Record) -> None:
    """Adds p-values corrected for the number of strategies, for each measure."""
    tested = [one["paired"] for one in strategies.values() if one["paired"]]
    for measure in ("area", "last"):
        found = holm([one[measure]["p_value"] for one in tested])
        for one, p_value in zip(tested, found.tolist(), strict=True):
            one[measure]["p_holm"] = p_value


def _pairs(runs: list[Run], base: list[Run]) -> list[tuple[Run, Run]]:
    """Runs of the same seed on the same pool."""
    by_seed = {run.settings["seed"]: run for run in base}
    return [
        (run, by_seed[run.settings["seed"]])
        for run in runs
        if run.settings["seed"] in by_seed
        and run.settings["pool"] == by_seed[run.settings["seed"]].settings["pool"]
    ]


def _paired(labels: np.ndarray, runs: list[Run], base: list[Run]) -> Record | None:
    """Differences over the seeds both have, on the same pool."""
    pairs = _pairs(runs, base)
    if not pairs or runs is base:
        return None
    mine, theirs = (accuracies(list(side), labels) for side in zip(*pairs, strict=True))
    areas = [[area_under_curve(labels, c) for c in side] for side in (mine, theirs)]
    return {
        "area": paired_difference(*areas)._asdict(),
        "last": paired_difference(mine[:, -1], theirs[:, -1])._asdict(),
    }
