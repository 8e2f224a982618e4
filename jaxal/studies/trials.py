"""Trials of a study on disk: each is the folder of a run, as `jaxal.runs.run` makes."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxal.pools.answers import as_selection, check_answers
from jaxal.pools.initial import initial_rows
from jaxal.pools.pool import is_answer
from jaxal.runs import ledger, store
from jaxal.runs.errors import RunError
from jaxal.runs.experiment import Experiment, stream
from jaxal.runs.store import Record, RunFiles
from jaxal.types import Selection


class Trial(NamedTuple):
    """A cell of the grid with one seed."""

    experiment: Experiment
    files: RunFiles

    @property
    def seed(self) -> int:
        """Of everything that is random."""
        return self.experiment.settings["seed"]

    @property
    def is_finished(self) -> bool:
        """Whether its last round is on disk."""
        return self.num_left == 0

    @property
    def num_left(self) -> int:
        """Rounds that are not on disk; none where the last one is."""
        rounds = store.read_lines(self.files.rounds)
        is_over = bool(rounds) and bool(rounds[-1].get("is_last"))
        most = len(self.experiment.plan)
        # Its last round says so: a trial without has at least that one to go.
        return 0 if is_over else max(most - len(rounds), 1)


def of_seed(first: Experiment, seed: int, initial: Any) -> Experiment:
    """Returns an experiment as it is with another seed.

    Args:
      first: with any seed, for `answer` too, which is not of this seed.
      seed: that decides.
      initial: rows to start with, as for `jaxal.runs.run`.
    """
    key = stream(seed, "initial")
    rows = initial_rows(key, first.pool, first_rows(initial, seed))
    return first._replace(
        settings=first.settings | {"seed": seed},
        initial_rows=np.zeros(0, np.int32) if rows is None else np.asarray(rows),
        key_weights=stream(seed, "weights"),
        key_rounds=stream(seed, "rounds"),
    )


def first_rows(initial: Any, seed: int) -> Any:
    """Returns rows to start with, as `jaxal.runs.run` takes them, of one seed.

    Args:
      initial: how many, which ones, None, or a function that draws them by a key.
      seed: of the trial.
    """
    return initial(stream(seed, "initial")) if callable(initial) else initial


def lines_of(
    trial: Trial, index: int, selection: Selection, labels: np.ndarray
) -> list[Record]:
    """Returns the lines of the ledger for what a round trains on first.

    Args:
      trial: whose rows they are.
      index: of that round; 0 for the initial set.
      selection: `[K]` rows, on the host.
      labels: `[K]`.
    """
    is_valid = np.asarray(selection.is_valid)
    rows, scores = np.asarray(selection.indices), np.asarray(selection.scores)
    told = zip(rows[is_valid], scores[is_valid], labels[is_valid], strict=True)
    asked: list[tuple[int, float | None, Any, Record]] = [
        (int(row), float(score), label.item(), {}) for row, score, label in told
    ]
    return ledger.lines(trial.experiment, index, asked)


def taken(
    trial: Trial, selection: Selection, labels: np.ndarray, num_classes: int | None
) -> np.ndarray:
    """Returns answers that may be written down.

    Raises:
      RunError: one is no label.
    """
    try:
        pool = trial.experiment.pool
        return np.asarray(check_answers(pool, selection, labels, num_classes))
    except ValueError as error:
        raise RunError(
            f"{trial.files.folder}: the oracle's answers are not taken: {error}"
        ) from error


def bought_first(
    trials: Iterable[Trial], answers: Iterable[np.ndarray], num_classes: int | None
) -> list[tuple[Selection, np.ndarray]]:
    """Returns the initial sets of trials, with their labels."""
    found = []
    for trial, labels in zip(trials, answers, strict=True):
        asked = as_selection(trial.experiment.initial_rows.astype(np.int32))
        found.append((asked, taken(trial, asked, labels, num_classes)))
    return found


def masks(
    trial: Trial, asked: Selection, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels `[N]` and which there are, once the initial set is answered."""
    pool = trial.experiment.pool
    known, is_labelled = np.array(pool.labels), np.array(pool.is_labelled)
    kept = is_answer(labels)
    rows = np.asarray(asked.indices)[kept]
    known[rows], is_labelled[rows] = labels[kept], True
    return known, is_labelled
