"""Runs on disk, sorted into groups within which a comparison is fair."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxal.runs import provenance, store
from jaxal.runs.store import Record, RunError, RunFiles

# Settings that belong to a strategy or a seed; runs that differ in others are never
# put into one table.
STRATEGY_SIDE = ("strategy", "strategy_options", "plugins", "posterior", "num_samples")
SEED_SIDE = ("seed", "pool", "source", "platform", "chunk_size", "rounds", "budget")


class Run(NamedTuple):
    """One run, as far as it has got."""

    folder: Path
    settings: Record
    rounds: list[Record]

    @property
    def labels(self) -> np.ndarray:
        """Labels each round was trained on, `[R]`."""
        return np.array([record["labels"] for record in self.rounds])

    @property
    def accuracy(self) -> np.ndarray:
        """Test accuracy of each round in [0, 1], `[R]`."""
        return np.array([record["accuracy"] for record in self.rounds])

    @property
    def is_finished(self) -> bool:
        """Whether the last round is there."""
        return bool(self.rounds) and self.rounds[-1]["is_last"]


class Group(NamedTuple):
    """Runs that differ in strategy and seed only."""

    shared: Record  # settings all runs have in common
    title: str
    curves: dict[str, list[Run]]  # runs of each strategy, in order of seed
    notes: list[str]


def gather(folders: Sequence[Path]) -> list[Group]:
    """Returns the runs in folders, one group for each set of comparable ones.

    Args:
      folders: of runs, or folders that hold such folders.

    Returns:
      Groups in order of their titles.

    Raises:
      RunError: a folder holds no run, or a run occurs twice.
    """
    runs = [read_run(folder) for path in folders for folder in _run_folders(path)]
    begun = [run for run in runs if run.rounds]
    if not begun:
        raise RunError("None of these runs has finished a round yet.")
    by_conditions: dict[str, list[Run]] = {}
    for run in begun:
        conditions = json.dumps(_conditions(run.settings), sort_keys=True)
        by_conditions.setdefault(conditions, []).append(run)
    shared = [json.loads(text) for text in by_conditions]
    differing = {
        name
        for one in shared
        for name in one
        if len({str(s.get(name)) for s in shared}) > 1
    }
    groups = [
        _group(conditions, members, differing)
        for conditions, members in zip(shared, by_conditions.values(), strict=True)
    ]
    return sorted(groups, key=lambda group: group.title)


def read_run(folder: Path) -> Run:
    """Returns a run, finished or not; a line that is being written is left out."""
    files = RunFiles(folder)
    settings = store.read_json(files.config)["settings"]
    return Run(folder, provenance.complete(settings), store.read_lines(files.rounds))


def common_labels(group: Group) -> np.ndarray:
    """Returns the label counts at which every run of a group was measured, `[R]`."""
    runs = [run for members in group.curves.values() for run in members]
    common = set(runs[0].labels.tolist())
    for run in runs[1:]:
        common &= set(run.labels.tolist())
    return np.array(sorted(common), int)


def accuracies(runs: Sequence[Run], labels: np.ndarray) -> np.ndarray:
    """Returns the accuracy of each run at each of the label counts, `[seeds, R]`."""
    found = [dict(zip(run.labels.tolist(), run.accuracy, strict=True)) for run in runs]
    return np.array([[curve[count] for count in labels.tolist()] for curve in found])


def _run_folders(path: Path) -> list[Path]:
    if RunFiles(path).config.exists():
        return [path]
    inside = sorted(file.parent for file in path.glob("*/config.json"))
    if not inside:
        raise RunError(f"{path} is no run and holds none: there is no config.json.")
    return inside


def _conditions(settings: Record) -> Record:
    aside = STRATEGY_SIDE + SEED_SIDE
    return {name: value for name, value in settings.items() if name not in aside}


def _group(shared: Record, runs: list[Run], differing: set[str]) -> Group:
    curves: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.settings["seed"]):
        curves.setdefault(_label(run, runs), []).append(run)
    for label, members in curves.items():
        _refuse_twice(label, members)
    notes = [
        f"{run.folder} is not finished ({len(run.rounds)} rounds so far)."
        for run in runs
        if not run.is_finished
    ]
    said = {**shared, "source": runs[0].settings["source"]}
    return Group(said, _title(shared, differing), dict(sorted(curves.items())), notes)


def _title(shared: Record, differing: set[str]) -> str:
    network = shared["model"]
    if network in ("resnet18", "mlp"):
        network += f" of width {shared['width']}"
    parts = [shared["dataset"], f"preset {shared['preset']}", network]
    told = {"dataset", "preset", "model", "width"}
    extra = sorted(differing - told)
    return ", ".join(parts + [f"{name} {shared.get(name)}" for name in extra])


def _label(run: Run, runs: list[Run]) -> str:
    """The strategy, and what tells it from others of the same name."""
    name = run.settings["strategy"]
    alike = [other for other in runs if other.settings["strategy"] == name]
    apart = [
        f"{field} {run.settings[field]}"
        for field in STRATEGY_SIDE[1:]
        if len({str(other.settings[field]) for other in alike}) > 1
    ]
    return f"{name} ({', '.join(apart)})" if apart else name


def _refuse_twice(label: str, runs: list[Run]) -> None:
    for one, other in zip(runs, runs[1:], strict=False):
        if one.settings["seed"] == other.settings["seed"]:
            raise RunError(
                f"{one.folder} and {other.folder} are both {label} with seed "
                f"{one.settings['seed']}: the same trial twice. Leave one out."
            )
