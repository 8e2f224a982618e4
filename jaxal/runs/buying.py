"""Labels: asked for once, written down before anything is trained on them."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.pools.answers import as_selection, check_answers, is_regression
from jaxal.pools.changes import reveal
from jaxal.pools.pool import unanswered
from jaxal.runs import ledger, store
from jaxal.runs.experiment import Experiment, People, Question, Reply
from jaxal.runs.store import Record, RunError, RunFiles, WaitingError
from jaxal.types import Pool, Selection


def buy_initial(
    experiment: Experiment,
    files: RunFiles,
    warn: Callable[[str], None],
    num_classes: int | None,
) -> Pool:
    """Returns the pool with the initial set labelled, asking only what is not on disk.

    Args:
      experiment: whose initial rows and oracle are used.
      files: of the run.
      warn: is told when other rows are chosen than were bought.
      num_classes: `C`, None where labels are no classes.
    """
    if not experiment.initial_rows.size:
        return experiment.pool
    asked = as_selection(experiment.initial_rows.astype(np.int32))
    asked, labels = buy(experiment, files, warn, num_classes, 0, asked)
    return reveal(experiment.pool, asked.indices, labels, asked.is_valid)


def buy(
    experiment: Experiment,
    files: RunFiles,
    warn: Callable[[str], None],
    num_classes: int | None,
    index: int,
    selection: Selection,
) -> tuple[Selection, Array]:
    """Gets the labels that a round will train on; on return they are on disk.

    Args:
      experiment: whose oracle is asked.
      files: of the run.
      warn: is told when other rows are chosen than were bought.
      num_classes: `C`, None where labels are no classes.
      index: the first round that trains on them; 0 for the initial set.
      selection: `K` rows. Those that are on disk for this round are not asked again.

    Returns:
      The selection, in which every row that was paid for has a place, and `[K]` labels,
      -1 (or NaN) where there is none.

    Raises:
      RunError: an answer is no label, or the disk is full.
      WaitingError: people have not answered everything yet.
    """
    entries = ledger.read(experiment, files, num_classes)
    known = {entry.row: entry.label for entry in entries if entry.round == index}
    selection = _keep_bought(selection, list(known), warn)
    rows = np.asarray(selection.indices)[np.asarray(selection.is_valid)]
    missing = np.array([int(row) not in known for row in rows], bool)
    if missing.any():
        scores = dict(
            zip(
                np.asarray(selection.indices).tolist(),
                np.asarray(selection.scores),
                strict=True,
            )
        )
        told = _answers(experiment, num_classes, index, rows, missing)
        asked = ((row, scores[row], label, more) for row, (label, more) in told.items())
        store.append_lines(files.queries, ledger.lines(experiment, index, asked))
        known |= {row: label for row, (label, _) in told.items()}
        _require_all(rows.tolist(), known)
    none = unanswered(experiment.pool.labels.dtype)
    is_valid = np.asarray(selection.is_valid)
    labels = [
        known[int(row)] if valid else none
        for row, valid in zip(np.asarray(selection.indices), is_valid, strict=True)
    ]
    return selection, jnp.asarray(np.array(labels, experiment.pool.labels.dtype))


Told = dict[int, tuple[Any, Record]]  # from row to label and what else is known


def _answers(
    experiment: Experiment,
    num_classes: int | None,
    index: int,
    rows: np.ndarray,
    missing: np.ndarray,
) -> Told:
    """Answers to the questions that have none, as far as there are any."""
    if isinstance(experiment.answer, People):
        return _collected(experiment, num_classes, index, rows[missing])
    labels = experiment.answer(index, rows)
    try:
        labels = _as_numbers(experiment, rows, labels, num_classes)
    except (TypeError, ValueError) as error:
        raise RunError(f"The oracle's answers are not taken: {error}") from error
    pairs = zip(rows[missing].tolist(), labels[missing].tolist(), strict=True)
    return {row: (label, {}) for row, label in pairs}


def _collected(
    experiment: Experiment, num_classes: int | None, index: int, rows: np.ndarray
) -> Told:
    assert isinstance(experiment.answer, People)
    questions = [
        Question(row, str(experiment.ids[row]), index) for row in rows.tolist()
    ]
    experiment.answer.ask(questions)
    wanted = {question.id: question.row for question in questions}
    told: Told = {}
    for reply in experiment.answer.collect():
        if reply.id in wanted:  # of other rounds, or of somebody else's
            label = _reply_number(experiment, num_classes, wanted[reply.id], reply)
            facts = {"who": reply.who, "when": reply.when, "seconds": reply.seconds}
            facts |= {"cost": reply.cost}
            more = {name: fact for name, fact in facts.items() if fact is not None}
            told[wanted[reply.id]] = label, more  # the last word counts
    return told


def _reply_number(
    experiment: Experiment, num_classes: int | None, row: int, reply: Reply
) -> Any:
    if reply.label is None:
        return unanswered(experiment.pool.labels.dtype)
    try:
        rows = np.array([row])
        return _as_numbers(experiment, rows, [reply.label], num_classes)[0].item()
    except (TypeError, ValueError) as error:
        who = f" of {reply.who}" if reply.who else ""
        raise RunError(f"The answer{who} to {reply.id!r} is not taken: {error}") from (
            error
        )


def _as_numbers(
    experiment: Experiment, rows: np.ndarray, labels: Any, num_classes: int | None
) -> np.ndarray:
    if experiment.names is not None:
        labels = experiment.names.numbers(labels)
    if is_regression(experiment.pool):
        labels = np.asarray(labels, np.float32)
    asked = as_selection(rows)
    return np.asarray(check_answers(experiment.pool, asked, labels, num_classes))


def _require_all(rows: list[int], known: dict[int, Any]) -> None:
    done = sum(row in known for row in rows)
    if done < len(rows):
        raise WaitingError(
            f"Waiting for {len(rows) - done} of {len(rows)} answers. Those that came "
            "are on disk; start the run again to go on."
        )


def _keep_bought(
    selection: Selection, bought: list[int], warn: Callable[[str], None]
) -> Selection:
    """The selection in which every row that was paid for has a place."""
    chosen = np.asarray(selection.indices)[np.asarray(selection.is_valid)].tolist()
    if set(bought) <= set(chosen):
        return selection
    warn(
        "Other rows are chosen now than before the interruption, as happens with other "
        "software or another device. The labels that were bought are used."
    )
    rows = [*bought, *(row for row in chosen if row not in set(bought))]
    size = selection.indices.shape[0]
    scores = dict(
        zip(
            np.asarray(selection.indices).tolist(),
            np.asarray(selection.scores),
            strict=True,
        )
    )
    filled = rows[: max(len(chosen), len(bought))][:size]
    padding = [0] * (size - len(filled))
    return Selection(
        jnp.asarray([*filled, *padding], jnp.int32),
        jnp.asarray(
            [scores.get(row, np.nan) for row in [*filled, *padding]], jnp.float32
        ),
        jnp.arange(size) < len(filled),
    )
