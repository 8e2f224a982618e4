"""What a block of trials leaves on disk every few rounds, and goes on from."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jaxal.rounds import LoopState
from jaxal.runs import checkpoint, store
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record
from jaxal.studies.trials import Trial

FOLDER = ".blocks"


class Done(NamedTuple):
    """How far a block has got."""

    rounds: int
    state: LoopState  # [B, ...], without inputs
    is_over: list[bool]  # a trial each


class New(NamedTuple):
    """Lines of a trial that are not on disk yet."""

    rounds: list[Record]
    queries: list[Record]


Lines = list[New]


def no_lines(trials: list[Trial]) -> Lines:
    """Returns a place for the lines of each trial."""
    return [New([], []) for _ in trials]


def save(trials: list[Trial], done: Done, lines: Lines, *, is_over: bool) -> None:
    """Writes the lines of new rounds, then the state they lead to.

    Killed in between, rounds whose state is not there are computed again.

    Args:
      trials: of the block.
      done: the state after the last of those rounds.
      lines: that are new.
      is_over: whether no round is to come: then no state is needed.
    """
    for trial, new in zip(trials, lines, strict=True):
        store.append_lines(trial.files.queries, new.queries)
        store.append_lines(trial.files.rounds, new.rounds)
    if is_over:
        shutil.rmtree(_place(trials), ignore_errors=True)
    else:
        checkpoint.save(
            _place(trials), done.rounds - 1, done.state, _facts(trials), keep=1
        )


def resumed(
    trials: list[Trial], template: LoopState, warn: Callable[[str], None]
) -> Done | None:
    """Returns how far the block got, its files cut back to there; None for nothing.

    Args:
      trials: of the block.
      template: a state of the same shapes.
      warn: is told of what is damaged.
    """
    facts = _facts(trials)
    try:
        found = checkpoint.load_latest(
            _place(trials), template, lambda number: facts, warn, before=1 << 30
        )
    except RunError as error:  # of other data, or another network
        warn(f"{error} The block begins again.")
        found = None
    if found is None:
        return None
    rounds, state = found[0] + 1, found[1]
    ends = [_cut(trial, rounds) for trial in trials]
    known = [end for end in ends if end is not None]
    return Done(rounds, state, known) if len(known) == len(ends) else None


def cleared(trials: list[Trial]) -> None:
    """Removes lines of rounds whose state is lost; what is decided stays."""
    for trial in trials:
        for path in (trial.files.queries, trial.files.rounds):
            path.unlink(missing_ok=True)


def _cut(trial: Trial, rounds: int) -> bool | None:
    """Whether a trial is over, its files cut to so many rounds; None: lines miss."""
    lines = store.repair_lines(trial.files.rounds)
    kept = lines[:rounds]
    is_over = bool(kept) and bool(kept[-1]["is_last"])
    if len(kept) < rounds and not is_over:
        return None
    if len(kept) < len(lines):
        store.rewrite_lines(trial.files.rounds, kept)
    bought = store.repair_lines(trial.files.queries)
    trained = [line for line in bought if line["round"] <= rounds]
    if len(trained) < len(bought):
        store.rewrite_lines(trial.files.queries, trained)
    return is_over


def _place(trials: list[Trial]) -> Path:
    names = [str(trial.files.folder.name) for trial in trials]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return trials[0].files.folder.parent / FOLDER / digest


def _facts(trials: list[Trial]) -> Record:
    told = [store.encode(trial.experiment.settings) for trial in trials]
    return {"settings": hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]}
