"""Labels: asked for once, written down before anything is trained on them."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.pools.changes import reveal
from jaxal.runs import store
from jaxal.runs.experiment import Experiment
from jaxal.runs.store import Record, RunError, RunFiles
from jaxal.types import Pool, Selection

COST = 1.0  # of one label


def buy_initial(
    experiment: Experiment, files: RunFiles, warn: Callable[[str], None]
) -> Pool:
    """Returns the pool with the initial set labelled, asking only what is not on disk.

    Args:
      experiment: whose initial rows and oracle are used.
      files: of the run.
      warn: is told when other rows are chosen than were bought.
    """
    rows = jnp.asarray(experiment.initial_rows, jnp.int32)
    asked = Selection(rows, jnp.full(rows.shape, jnp.nan), jnp.ones(rows.shape, bool))
    asked, labels = buy(experiment, files, warn, 0, asked)
    return reveal(experiment.pool, asked.indices, labels, asked.is_valid)


def buy(
    experiment: Experiment,
    files: RunFiles,
    warn: Callable[[str], None],
    index: int,
    selection: Selection,
) -> tuple[Selection, Array]:
    """Gets the labels that a round will train on; on return they are on disk.

    Args:
      experiment: whose oracle is asked.
      files: of the run.
      warn: is told when other rows are chosen than were bought.
      index: the first round that trains on them; 0 for the initial set.
      selection: `K` rows. Those that are on disk for this round are not asked again.

    Returns:
      The selection, in which every row that was paid for has a place, and `[K]` labels,
      -1 where there is none.

    Raises:
      RunError: an answer is no label, or the disk is full.
    """
    queries = store.read_lines(files.queries)
    known = {q["row"]: q["label"] for q in queries if q["round"] == index}
    selection = _keep_bought(selection, list(known), warn)
    rows, is_valid = np.asarray(selection.indices), np.asarray(selection.is_valid)
    missing = np.array(
        [v and int(r) not in known for r, v in zip(rows, is_valid, strict=True)]
    )
    labels = np.array([known.get(int(row), -1) for row in rows], np.int32)
    if missing.any():
        answers = np.asarray(experiment.answer(index, rows))
        _check_answers(answers, rows, experiment)
        labels = np.where(missing, answers, labels).astype(np.int32)
        lines = _lines(experiment, index, selection, labels)
        store.append_lines(
            files.queries,
            [line for line, due in zip(lines, missing, strict=True) if due],
        )
    return selection, jnp.asarray(np.where(is_valid, labels, -1))


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


def _lines(
    experiment: Experiment, index: int, selection: Selection, labels: np.ndarray
) -> list[Record]:
    rows, scores = np.asarray(selection.indices), np.asarray(selection.scores)
    return [
        {
            "round": index,
            "row": int(row),
            "id": experiment.ids[row] if row < len(experiment.ids) else None,
            "label": int(label),
            "score": float(score),
            "cost": COST,
            "oracle": experiment.oracle,
            "dataset": experiment.settings["dataset"],
        }
        for row, score, label in zip(rows, scores, labels, strict=True)
    ]


def _check_answers(
    answers: np.ndarray, rows: np.ndarray, experiment: Experiment
) -> None:
    if answers.shape != rows.shape:
        raise RunError(
            f"The oracle gave {list(answers.shape)} answers to {len(rows)} questions; "
            "expected one each, -1 for a row it will not label."
        )
    bad = (answers < -1) | (answers >= experiment.num_classes)
    if bad.any():
        raise RunError(
            f"The oracle called row {rows[bad][0]} class {answers[bad][0]}; classes "
            f"are 0 to {experiment.num_classes - 1}, or -1. Nothing was recorded."
        )
