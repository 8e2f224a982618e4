"""Runs on disk, sorted into groups within which a comparison is fair."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxal.runs import provenance, store
from jaxal.runs.store import Record, RunError, RunFiles

NEEDED: Record = dict.fromkeys(("dataset", "pool", "preset", "source", "strategy"), str)
NEEDED |= {"seed": int}
MEASURED: Record = {
    "labels": int,
    "accuracy": int | float,
    "seconds": dict,
    "is_last": bool,
}
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

    What is no run, has no round yet or is damaged is left out, and every group's notes
    say which and why. Of a trial that occurs twice, as with more `--rounds`, the run
    that has got furthest counts.

    Args:
      folders: of runs, or folders that hold such folders.

    Returns:
      Groups in order of their titles.

    Raises:
      RunError: nothing is left.
    """
    runs, left_out = _readable(folders)
    if not runs:
        raise RunError("\n".join(left_out) or "No folder of runs was named.")
    by_conditions: dict[str, list[Run]] = {}
    for run in runs:
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
        _group(conditions, members, differing, left_out)
        for conditions, members in zip(shared, by_conditions.values(), strict=True)
    ]
    return sorted(groups, key=lambda group: group.title)


def read_run(folder: Path) -> Run:
    """Returns a run, finished or not; a line that is being written is left out.

    Raises:
      RunError: a file is damaged, or says nothing that could be compared.
    """
    files = RunFiles(folder)
    config, rounds = store.read_json(files.config), store.read_lines(files.rounds)
    if not rounds:
        raise RunError(f"{folder} has not finished a round yet.")
    settings = config.get("settings") if isinstance(config, dict) else None
    settings = _checked(files.config, settings, NEEDED)
    for i, record in enumerate(rounds, start=1):
        _checked(f"line {i} of {files.rounds}", record, MEASURED)
    return Run(folder, provenance.complete(settings), rounds)


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


def _readable(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The runs that can be compared, and for each other one a sentence why not."""
    runs: dict[Path, Run] = {}  # whatever names a folder goes by, it is one
    left_out = []
    for path in folders:
        try:
            inside = _run_folders(path)
        except (RunError, OSError) as error:
            left_out.append(f"left out: {error}")
            continue
        for folder in inside:
            try:
                runs[folder.resolve()] = read_run(folder)
            except (RunError, OSError) as error:
                left_out.append(f"left out: {error}")
    return list(runs.values()), left_out


def _checked(what: object, record: Any, kinds: Record) -> Record:
    found = record if isinstance(record, dict) else {}
    bad = [name for name in kinds if not isinstance(found.get(name), kinds[name])]
    if bad:
        told = ", ".join(f"{name} {found.get(name)!r}" for name in bad)
        raise RunError(f"{what} says {told}, which cannot be compared with other runs.")
    return found


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


def _group(
    shared: Record, runs: list[Run], differing: set[str], left_out: list[str]
) -> Group:
    kept, notes = _comparable(runs)
    curves: dict[str, list[Run]] = {}
    for run in sorted(kept, key=lambda run: run.settings["seed"]):
        curves.setdefault(_label(run, runs), []).append(run)
    notes += [
        f"{run.folder} is not finished ({len(run.rounds)} rounds so far)."
        for run in kept
        if not run.is_finished
    ]
    notes += left_out
    said = {**shared, "source": kept[0].settings["source"]}
    return Group(said, _title(shared, differing), dict(sorted(curves.items())), notes)


def _title(shared: Record, differing: set[str]) -> str:
    network = shared.get("model")
    if network in ("resnet18", "mlp"):
        network += f" of width {shared.get('width')}"
    parts = [shared["dataset"], f"preset {shared['preset']}"]
    parts += [] if network is None else [str(network)]
    told = {"dataset", "preset", "model", "width"}
    extra = sorted(differing - told)
    return ", ".join(parts + [f"{name} {shared.get(name)}" for name in extra])


def _label(run: Run, runs: list[Run]) -> str:
    """The strategy, and what tells it from others of the same name."""
    name = run.settings["strategy"]
    alike = [other for other in runs if other.settings["strategy"] == name]
    apart = [
        f"{field} {run.settings.get(field)}"
        for field in STRATEGY_SIDE[1:]
        if len({str(other.settings.get(field)) for other in alike}) > 1
    ]
    return f"{name} ({', '.join(apart)})" if apart else name


def _comparable(runs: list[Run]) -> tuple[list[Run], list[str]]:
    """One run a trial, all with a label count in common; and why others are not."""
    kept: dict[tuple[str, int], Run] = {}
    notes = []
    occurs = Counter(count for run in runs for count in set(run.labels.tolist()))
    most = max(occurs, key=occurs.__getitem__)
    for run in sorted(runs, key=lambda run: -run.labels[-1]):  # furthest first
        trial = _label(run, runs), run.settings["seed"]
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
