"""Labels: asked for once, written down before anything is trained on them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.pools.answers import as_selection, check_answers, is_regression
from jaxal.pools.changes import reveal
from jaxal.pools.pool import is_answer, unanswered
from jaxal.runs import ledger, store
from jaxal.runs.errors import RunError, WaitingError
from jaxal.runs.experiment import Experiment, People, Question, Reply
from jaxal.runs.history import happened, history_of
from jaxal.runs.refusals import worn_out
from jaxal.runs.store import Record, RunFiles
from jaxal.types import Pool, Selection


def buy_initial(
    experiment: Experiment,
    files: RunFiles,
    warn: Callable[[str], None],
    num_classes: int | None,
    is_open: bool,
) -> Pool:
    """Returns the pool with the initial set labelled, asking only what is not on disk.

    Args:
      experiment: whose initial rows and oracle are used.
      files: of the run.
      warn: is told when other rows are chosen than were bought.
      num_classes: `C`, None where labels are no classes.
      is_open: see `buy`.
    """
    if not experiment.initial_rows.size:
        entries = ledger.read(experiment, files, num_classes)
        return happened(experiment.pool, (e for e in entries if e.round == 0))
    asked = as_selection(experiment.initial_rows.astype(np.int32))
    asked, labels, events = buy(
        experiment, files, warn, num_classes, 0, asked, is_open=is_open
    )
    pool = reveal(experiment.pool, asked.indices, labels, asked.is_valid)
    return happened(pool, events)


class Bought(NamedTuple):
    """What a round will train on that the one before did not."""

    selection: Selection  # in which every row that was paid for has a place
    labels: Array  # [K], -1 (or NaN) where there is none
    events: list[ledger.Entry]  # corrections and the like


def buy(
    experiment: Experiment,
    files: RunFiles,
    warn: Callable[[str], None],
    num_classes: int | None,
    index: int,
    selection: Selection,
    *,
    is_open: bool = True,
) -> Bought:
    """Gets the labels that a round will train on; on return they are on disk.

    Args:
      experiment: whose oracle is asked.
      files: of the run.
      warn: is told when other rows are chosen than were bought.
      num_classes: `C`, None where labels are no classes.
      index: the first round that trains on them; 0 for the initial set.
      selection: `K` rows. Those that are on disk for this round are not asked again.
      is_open: whether what people say now may still be of this round.

    Returns:
      The selection with its labels, and what people said of other rows meanwhile.

    Raises:
      RunError: an answer is no label, or the disk is full.
      WaitingError: people have not answered everything yet.
    """
    entries = ledger.read(experiment, files, num_classes)
    known = {
        entry.row: entry.label
        for entry in entries
        if entry.round == index and entry.event == "answered"
    }
    selection = _keep_bought(selection, list(known), warn)
    rows = np.asarray(selection.indices)[np.asarray(selection.is_valid)]
    missing = np.array([int(row) not in known for row in rows], bool)
    replies = _replies(experiment, warn, index, rows[missing]) if is_open else []
    if missing.any():
        scores = _scores(selection)
        told = _answers(experiment, num_classes, index, rows, missing, replies)
        asked = ((row, scores[row], label, more) for row, (label, more) in told.items())
        store.append_lines(files.queries, ledger.lines(experiment, index, asked))
        known |= {row: label for row, (label, _) in told.items()}
    if replies:
        entries = ledger.read(experiment, files, num_classes)
        changed = _changes(experiment, num_classes, entries, replies)
        store.append_lines(files.queries, ledger.lines(experiment, index, changed))
        entries = ledger.read(experiment, files, num_classes)
    _require_all(rows.tolist(), known)
    is_refused = not all(is_answer(np.asarray(label)) for label in known.values())
    if is_refused and experiment.refusals is not None:
        entries = _withdraw_refused(experiment, files, num_classes, index)
    none = unanswered(experiment.pool.labels.dtype)
    is_valid = np.asarray(selection.is_valid)
    labels = [
        known[int(row)] if valid else none
        for row, valid in zip(np.asarray(selection.indices), is_valid, strict=True)
    ]
    events = [e for e in entries if e.round == index and e.event != "answered"]
    said = jnp.asarray(np.array(labels, experiment.pool.labels.dtype))
    return Bought(selection, said, events)


def _withdraw_refused(
    experiment: Experiment,
    files: RunFiles,
    num_classes: int | None,
    index: int,
) -> list[ledger.Entry]:
    """The ledger, in which rows that were refused too often are withdrawn."""
    entries = ledger.read(experiment, files, num_classes)
    none = unanswered(experiment.pool.labels.dtype)
    more = {"event": "withdrawn", "why": f"refused {experiment.refusals.most} times"}
    told = [(row, None, none, more) for row in worn_out(experiment.refusals, entries)]
    if not told:
        return entries
    store.append_lines(files.queries, ledger.lines(experiment, index, told))
    return ledger.read(experiment, files, num_classes)


def _replies(
    experiment: Experiment, warn: Callable[[str], None], index: int, rows: np.ndarray
) -> list[Reply]:
    """Shows people what is missing, and returns all that they have said so far."""
    if not isinstance(experiment.answer, People):
        return []
    questions = [
        Question(row, str(experiment.ids[row]), index) for row in rows.tolist()
    ]
    if questions:
        experiment.answer.ask(questions)
    replies = [r._replace(id=str(r.id)) for r in experiment.answer.collect()]
    known = set(map(str, experiment.ids))
    if strange := [reply.id for reply in replies if reply.id not in known]:
        warn(f"{len(strange)} answers name no row of the pool, such as {strange[0]!r}.")
    for reply in replies:
        if not isinstance(reply.withdraw, bool | np.bool_):
            raise RunError(
                f"The answer to {reply.id!r} has withdraw {reply.withdraw!r}, expected "
                "True or False. Nothing was written down; answer again."
            )
    return replies


def _changes(
    experiment: Experiment,
    num_classes: int | None,
    entries: list[ledger.Entry],
    replies: list[Reply],
) -> list[tuple[int, None, Any, Record]]:
    """What people say of rows that is not what the ledger says of them."""
    rows = {str(name): row for row, name in enumerate(experiment.ids)}
    last = {rows[reply.id]: reply for reply in replies if reply.id in rows}
    newest = entries[-1].round if entries else 0
    history = history_of(experiment.pool, entries, newest)
    found: list[tuple[int, None, Any, Record]] = []
    for row, reply in last.items():
        before = history.labels[row]
        concerns = reply.withdraw or bool(is_answer(before))
        if row in history.withdrawn or not concerns:
            continue
        label = _reply_number(experiment, num_classes, row, reply)
        if reply.withdraw:
            event = "withdrawn"
        elif label == before:
            continue
        else:
            event = "corrected" if is_answer(np.asarray(label)) else "forgotten"
        found.append((row, None, label, {"event": event, **_facts(reply)}))
    return found


def _facts(reply: Reply) -> Record:
    facts = {"who": reply.who, "when": reply.when, "seconds": reply.seconds}
    facts |= {"cost": reply.cost}
    return {name: fact for name, fact in facts.items() if fact is not None}


Told = dict[int, tuple[Any, Record]]  # from row to label and what else is known


def _answers(
    experiment: Experiment,
    num_classes: int | None,
    index: int,
    rows: np.ndarray,
    missing: np.ndarray,
    replies: list[Reply],
) -> Told:
    """Answers to the questions that have none, as far as there are any."""
    if isinstance(experiment.answer, People):
        return _collected(experiment, num_classes, rows[missing], replies)
    labels = experiment.answer(index, rows)
    try:
        labels = _as_numbers(experiment, rows, labels, num_classes)
    except (TypeError, ValueError) as error:
        raise RunError(f"The oracle's answers are not taken: {error}") from error
    pairs = zip(rows[missing].tolist(), labels[missing].tolist(), strict=True)
    return {row: (label, {}) for row, label in pairs}


def _collected(
    experiment: Experiment,
    num_classes: int | None,
    rows: np.ndarray,
    replies: list[Reply],
) -> Told:
    wanted = {str(experiment.ids[row]): row for row in rows.tolist()}
    told: Told = {}
    for reply in replies:
        if reply.id in wanted:  # of other rounds, or of somebody else's
            label = _reply_number(experiment, num_classes, wanted[reply.id], reply)
            told[wanted[reply.id]] = label, _facts(reply)  # the last word counts
    return told


def _reply_number(
    experiment: Experiment, num_classes: int | None, row: int, reply: Reply
) -> Any:
    if reply.label is None or reply.withdraw:
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
    scores = _scores(selection)
    filled = rows[: max(len(chosen), len(bought))][:size]
    padding = [0] * (size - len(filled))
    return Selection(
        jnp.asarray([*filled, *padding], jnp.int32),
        jnp.asarray(
            [scores.get(row, np.nan) for row in [*filled, *padding]], jnp.float32
        ),
        jnp.arange(size) < len(filled),
    )


def _scores(selection: Selection) -> dict[int, float]:
    """From row to score."""
    rows = np.asarray(selection.indices).tolist()
    return dict(zip(rows, np.asarray(selection.scores).tolist(), strict=True))
