"""Runs sorted into groups within which a comparison is fair."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxal.checks import nearest
from jaxal.comparisons import CEILING
from jaxal.report.measures import Measure
from jaxal.report.reading import Run, readable, with_values
from jaxal.runs.errors import RunError
from jaxal.runs.provenance import PROGRAM
from jaxal.runs.store import Record

# Settings that belong to a strategy or a seed; runs that differ in others are never
# put into one table, unless that is what is compared.
STRATEGY_SIDE = ("strategy", "strategy_options", "plugins", "posterior", "num_samples")
SEED_SIDE = ("seed", "pool", "source", "platform", "chunk_size", "rounds", "budget")
MOST_NAMED = 5  # runs that are not finished


class Group(NamedTuple):
    """Runs that differ in what is compared and in seed only."""

    shared: Record  # settings all runs have in common
    title: str
    curves: dict[str, list[Run]]  # runs of each side, in order of seed
    notes: list[str]
    measure: Measure = Measure("accuracy")
    compare: tuple[str, ...] = ("strategy",)
    ceiling: tuple[Run, ...] = ()  # trained on all labels


def gather(
    folders: Sequence[Path],
    *,
    compare: Sequence[str] = ("strategy",),
    metric: str | None = None,
    better: str | None = None,
) -> list[Group]:
    """Returns the runs in folders, one group for each set of comparable ones.

    What is no run, has no round yet, says no such metric or is damaged is left out, and
    every group's notes say which and why. Of a trial that occurs twice, as with more
    `--rounds`, the run that has got furthest counts.

    Args:
      folders: of runs, or folders that hold such folders.
      compare: settings that are compared; runs of a group agree in all others.
      metric: what they are compared by, see `measures.chosen`.
      better: "higher" or "lower", by default what the metric says.

    Returns:
      Groups in order of their titles.

    Raises:
      RunError: nothing is left, or no run has such a setting or metric.
    """
    runs, left_out = readable(folders)
    if not runs:
        raise RunError("\n".join(left_out) or "No folder of runs was named.")
    measure, runs, silent = with_values(runs, metric, better)
    compare = _known(compare, runs)
    every = [run for run in runs if run.settings["strategy"] == CEILING]
    runs = [run for run in runs if run.settings["strategy"] != CEILING] or every
    by_conditions: dict[str, list[Run]] = {}
    for run in runs:
        conditions = json.dumps(_conditions(run, _aside(compare)), sort_keys=True)
        by_conditions.setdefault(conditions, []).append(run)
    shared = [json.loads(text) for text in by_conditions]
    differing = {
        name
        for one in shared
        for name in one
        if len({str(s.get(name)) for s in shared}) > 1
    }
    left_out += silent
    if len(shared) == len(runs) > 1 and differing:
        left_out.append(_lonely(compare, differing))
    groups = [
        _group(Group(conditions, "", {}, left_out, measure, compare), members, every)
        for conditions, members in zip(shared, by_conditions.values(), strict=True)
    ]
    titled = [group._replace(title=_title(group, differing)) for group in groups]
    return sorted(titled, key=lambda group: group.title)


def common_labels(group: Group) -> np.ndarray:
    """Returns the label counts at which every run of a group was measured, `[R]`."""
    runs = [run for members in group.curves.values() for run in members]
    return np.array(sorted(set.intersection(*(set(r.labels.tolist()) for r in runs))))


def values_at(runs: Sequence[Run], labels: np.ndarray) -> np.ndarray:
    """Returns what each run measured at each of the label counts, `[seeds, R]`."""
    return np.array([run.at(labels) for run in runs])


def _known(compare: Sequence[str], runs: list[Run]) -> tuple[str, ...]:
    known = {name for run in runs for name in run.settings} - {"seed", "pool"}
    names = tuple(name.replace("-", "_") for name in compare)
    for name in names:
        if name not in known:
            raise RunError(
                f"--compare {name}: no run has such a setting. They have "
                f"{', '.join(sorted(known))}.{nearest(name, known)}"
            )
    return names


def _aside(compare: tuple[str, ...]) -> set[str]:
    """Settings in which runs of a group may differ."""
    with_it = STRATEGY_SIDE if "strategy" in compare else ()
    return {*compare, *with_it, *SEED_SIDE}


def _conditions(run: Run, aside: set[str]) -> Record:
    return {name: value for name, value in run.settings.items() if name not in aside}


def _group(group: Group, runs: list[Run], every: list[Run]) -> Group:
    kept, notes = _comparable(runs, group.compare)
    curves: dict[str, list[Run]] = {}
    for run in sorted(kept, key=lambda run: (_order(run, group.compare), run.seed)):
        curves.setdefault(_label(run, runs, group.compare), []).append(run)
    notes += _unfinished(kept)
    said = {**group.shared, "source": kept[0].settings["source"]}
    aside = _aside(group.compare) | {*STRATEGY_SIDE, "stop"}  # it buys once
    like = _conditions(kept[0], aside)
    ceiling = [run for run in every if _conditions(run, aside) == like]
    return group._replace(
        shared=said,
        curves=curves,
        notes=notes + group.notes,
        ceiling=() if runs == every else tuple(ceiling),
    )


def _unfinished(runs: list[Run]) -> list[str]:
    found = [run for run in runs if not run.is_finished]
    notes = [
        f"{run.folder} is not finished ({len(run.rounds)} rounds so far)."
        for run in found[:MOST_NAMED]
    ]
    left = len(found) - MOST_NAMED
    return notes + ([f"{left} more runs are not finished."] if left > 0 else [])


def _title(group: Group, differing: set[str]) -> str:
    shared = group.shared
    network = shared.get("model")
    if network in ("resnet18", "mlp") and "width" in shared:
        network += f" of width {shared['width']}"
    told = {"dataset", "preset", "model", "width", "strategy"}
    preset = shared.get("preset")
    parts = [str(shared.get("dataset", ""))]
    parts += [] if preset == PROGRAM else [f"preset {preset}"]
    parts += [] if network is None else [str(network)]
    parts += [] if "strategy" not in shared else [f"strategy {shared['strategy']}"]
    extra = sorted(differing - told)
    return ", ".join([*filter(None, parts), *(f"{n} {shared.get(n)}" for n in extra)])


def _order(run: Run, compare: tuple[str, ...]) -> list[tuple[bool, Any]]:
    """Numbers in order of size, then names; lists of numbers as numbers."""
    found: list[tuple[bool, Any]] = []
    for name in compare:
        value = run.settings.get(name)
        first = value[0] if isinstance(value, list) and value else value
        is_number = isinstance(first, int | float)
        found.append((not is_number, first if is_number else str(value)))
    return found


def _label(run: Run, runs: list[Run], compare: tuple[str, ...]) -> str:
    """What is compared, and what tells a strategy from others of the same name."""
    said = {name: _shown(run.settings.get(name)) for name in compare}
    bare = compare if len(compare) == 1 else ("strategy",)
    label = ", ".join(v if n in bare else f"{n} {v}" for n, v in said.items())
    if "strategy" not in compare:
        return label
    alike = [o for o in runs if o.settings["strategy"] == run.settings["strategy"]]
    apart = [
        f"{field} {run.settings.get(field)}"
        for field in STRATEGY_SIDE
        if field not in compare
        and len({str(other.settings.get(field)) for other in alike}) > 1
    ]
    return f"{label} ({', '.join(apart)})" if apart else label


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _lonely(compare: tuple[str, ...], differing: set[str]) -> str:
    names = " ".join([*compare, *sorted(differing - set(compare))])
    return (
        f"no two runs agree in all but {', '.join(compare)} and seed. To compare them "
        f"all the same: --compare {names}"
    )


def _comparable(
    runs: list[Run], compare: tuple[str, ...]
) -> tuple[list[Run], list[str]]:
    """One run a trial, all with a label count in common; and why others are not."""
    kept: dict[tuple[str, int], Run] = {}
    notes = []
    occurs = Counter(count for run in runs for count in set(run.labels.tolist()))
    most = max(occurs, key=occurs.__getitem__)
    for run in sorted(runs, key=lambda run: -run.labels[-1]):  # furthest first
        trial = _label(run, runs, compare), run.seed
        if trial in kept:
            notes.append(
                f"left out: {run.folder} is {trial[0]} with seed {trial[1]}, and so is "
                f"{kept[trial].folder}, at least as far: the same trial twice."
            )
        elif most not in run.labels:
            notes.append(
                f"left out: {run.folder} was measured with {run.labels.tolist()} "
                f"labels, and not with {most} as others."
            )
        else:
            kept[trial] = run
    return list(kept.values()), notes
