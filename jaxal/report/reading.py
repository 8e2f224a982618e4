"""Runs on disk, each as far as it has got."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxal.report import measures
from jaxal.runs import ledger, provenance, store
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record, RunFiles

NEEDED: Record = dict.fromkeys(("dataset", "pool", "preset", "source", "strategy"), str)
NEEDED |= {"seed": int}


class Run(NamedTuple):
    """One run, as far as it has got."""

    folder: Path
    settings: Record
    rounds: list[Record]
    values: np.ndarray = np.zeros(0)  # [R] of the metric that runs are compared by

    @property
    def labels(self) -> np.ndarray:
        """Labels each round was trained on, `[R]`."""
        return np.array([record["labels"] for record in self.rounds])

    @property
    def seed(self) -> int:
        """Of everything that is random."""
        return self.settings["seed"]

    @property
    def is_finished(self) -> bool:
        """Whether the last round is there."""
        return bool(self.rounds) and self.rounds[-1]["is_last"]

    def at(self, labels: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """Returns what is measured, or other values `[R]`, at label counts."""
        found = self.values if values is None else values
        by_labels = dict(zip(self.labels.tolist(), found, strict=True))
        return np.array([by_labels[count] for count in labels.tolist()])


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
    ledger.check_rounds(files, rounds)
    return Run(folder, provenance.complete(settings), rounds)


def readable(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Returns the runs that can be read, and for each other one why it cannot.

    Args:
      folders: of runs, or folders that hold such folders.
    """
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


def with_values(
    runs: Sequence[Run], metric: str | None, better: str | None
) -> tuple[measures.Measure, list[Run], list[str]]:
    """Returns the metric, the runs that say it, and why each other one is left out.

    Args:
      runs: what to compare.
      metric: its name, see `measures.chosen`.
      better: "higher" or "lower".

    Raises:
      RunError: no run says it.
    """
    known = [measures.names(run.rounds[-1], run.settings) for run in runs]
    measure = measures.chosen(known, metric, better)
    kept, left_out = [], []
    for run, says in zip(runs, known, strict=True):
        values = measures.measured(run.rounds, run.settings, measure.name)
        if np.isfinite(values).all():
            kept.append(run._replace(values=values))
        else:
            listed = ", ".join(name for name in says if "[" not in name)
            left_out.append(
                f"left out: {run.folder} says no {measure.name} in every round; "
                f"it says {listed or 'nothing'}."
            )
    return measure, kept, left_out


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
    if path.name == "report" and (path / "summary.json").exists():
        return []  # an earlier report, by `runs/*`
    inside = sorted(file.parent for file in path.glob("*/config.json"))
    if not inside:
        raise RunError(f"{path} is no run and holds none: there is no config.json.")
    return inside
