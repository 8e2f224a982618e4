"""The life of a run: begin or continue, round after round, until it is finished."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxal.pools.pool import is_answer
from jaxal.rounds import LoopState
from jaxal.runs import checkpoint, compiles, ledger, store
from jaxal.runs.buying import Bought, buy
from jaxal.runs.displays import Display
from jaxal.runs.errors import RunError, WaitingError
from jaxal.runs.experiment import Experiment
from jaxal.runs.history import happened
from jaxal.runs.recording import Shown, are_nan, round_record, stopped_by
from jaxal.runs.refusals import without_resting
from jaxal.runs.resuming import claim, facts, note_environment, resume, saved_part
from jaxal.runs.store import Record, RunFiles
from jaxal.types import Pool, Selection


def run(
    experiment: Experiment,
    files: RunFiles,
    display: Display,
    *,
    command: str = "",
    overwrite: bool = False,
) -> list[Record]:
    """Begins a run, continues one that was killed, or shows one that is finished.

    Every label is on disk before it is trained on, every round before the next begins.

    Args:
      experiment: what to run.
      files: where it lies on disk.
      display: who is told.
      command: how it was started, for the record.
      overwrite: throw away what is there.

    Returns:
      One record a round, as `rounds.jsonl` has them. The last says `is_last`, unless
      the run waits for people to answer.

    Raises:
      RunError: the folder belongs to another experiment, a file is damaged, the disk
        is full, the model's outputs are NaN, or an oracle's answer is no label.
    """
    with store.locked(files.folder):
        if overwrite:
            store.clear(files)
        config = claim(experiment, files, command)
        records = ledger.read_rounds(files, experiment.settings)
        note_environment(files, display, config, records)
        if records and records[-1]["is_last"]:
            entries = ledger.read(experiment, files, _num_classes(experiment))
            ledger.compare(files, entries, experiment.pool, records)
            display.message(f"{files.folder} is finished: nothing left to do.")
            return records
        try:
            state, records = resume(experiment, files, display, records)
            while len(records) < len(experiment.plan):
                state, record = _round(experiment, files, display, records, state)
                records.append(record)
                display.round(record)
                if record["is_last"]:
                    if rule := record.get("stopped_by"):
                        display.message(f"{rule} stops at {record['labels']} labels.")
                    break
        except WaitingError as waiting:
            display.message(f"{files.folder}: {waiting}")
    return records


def _round(
    experiment: Experiment,
    files: RunFiles,
    display: Display,
    records: list[Record],
    state: LoopState,
) -> tuple[LoopState, Record]:
    index = len(records)
    loop, key = experiment.loop, jax.random.fold_in(experiment.key_rounds, index)
    compiled, seconds = compiles.count(), dict[str, float]()
    is_last = index == len(experiment.plan) - 1
    num_labelled = int(state.pool.is_labelled.sum())
    with _timed(seconds, "train"), _stopping(index):
        state, fit = loop.phases.train(key, state, display.phase("train", index))
        jax.block_until_ready(state.learner)
    with _timed(seconds, "evaluate"):
        display.phase("evaluate", index)
        fitted = loop.phases.fit(key, state)
        metrics = jax.device_get(loop.phases.evaluate(key, state, fitted=fitted))
        held_out = _validated(experiment, key, state, fitted)
    shown = Shown(num_labelled, metrics, held_out, fit)
    with _stopping(index):
        rule = stopped_by(experiment, records, shown, seconds)
    is_last |= rule is not None
    selection = None
    if not is_last:
        state, selection = _choose(
            experiment, files, display, index, key, state, fitted, seconds
        )
    _refuse_nan(metrics, files)
    bought = 0
    if selection is not None:
        with _timed(seconds, "label"):
            selection, labels, events = _buy(
                experiment, files, display, index, state, selection
            )
            state = loop.tell(state, selection, labels)
            state = state._replace(pool=happened(state.pool, events))
        bought = int((selection.is_valid & is_answer(labels)).sum())
        is_last = not bool(selection.is_valid.any())  # the pool is dry
    record = round_record(
        experiment,
        index,
        shown,
        bought=bought,
        rule=rule,
        seconds=seconds,
        num_compiled=compiles.count() - compiled,
        is_last=is_last,
    )
    belongs_to = facts(experiment, [*records, record])
    # The line comes last: a round counts once both are whole.
    checkpoint.save(files.checkpoint, index, saved_part(state), belongs_to)
    store.append_lines(files.rounds, [record])
    files.asked.unlink(missing_ok=True)
    return state, record


def _num_classes(experiment: Experiment) -> int | None:
    """What the model counts classes to, from shapes alone."""
    loop, found = experiment.loop, list[int | None]()

    def begin() -> None:
        found.append(loop.classes(loop.init(experiment.key_weights, experiment.pool)))

    jax.eval_shape(begin)
    return found[0]


def _buy(
    experiment: Experiment,
    files: RunFiles,
    display: Display,
    index: int,
    state: LoopState,
    selection: Selection,
) -> Bought:
    """Buys what round `index` chose; what people owe is kept for the restart."""
    num_classes = experiment.loop.classes(state)
    try:
        return buy(
            experiment, files, display.message, num_classes, index + 1, selection
        )
    except WaitingError:
        rows = np.asarray(selection.indices)[np.asarray(selection.is_valid)]
        store.write_json(files.asked, {"round": index + 1, "rows": rows.tolist()})
        raise


def _choose(
    experiment: Experiment,
    files: RunFiles,
    display: Display,
    index: int,
    key: Array,
    state: LoopState,
    fitted: Any,
    seconds: dict[str, float],
) -> tuple[LoopState, Selection]:
    phases = experiment.loop.phases
    with _timed(seconds, "score"):
        progress = display.phase("score", index)
        seen = state._replace(pool=_for_sale(experiment, files, index, state))
        looked = phases.look(key, seen, progress, fitted=fitted)
        jax.block_until_ready(looked)
    with _timed(seconds, "select"), _stopping(index):
        display.phase("select", index)
        return jax.block_until_ready(phases.decide(key, state, looked))


def _for_sale(
    experiment: Experiment, files: RunFiles, index: int, state: LoopState
) -> Pool:
    """The pool without rows that were refused of late."""
    if experiment.refusals is None:
        return state.pool
    entries = ledger.read(experiment, files, experiment.loop.classes(state))
    rule, before = experiment.refusals, [e for e in entries if e.round <= index]
    return without_resting(rule, before, index + 1, state.pool)


@contextlib.contextmanager
def _stopping(index: int) -> Iterator[None]:
    """What a loop objects to ends the run, with its reason."""
    try:
        yield
    except (FloatingPointError, ValueError) as error:
        raise RunError(
            f"Round {index} was stopped, no label was bought. {error}"
        ) from error


def _validated(
    experiment: Experiment, key: Array, state: LoopState, fitted: Any
) -> Any:
    if experiment.validate is None:
        return None
    return jax.device_get(experiment.validate(key, state, fitted))


def _refuse_nan(metrics: Any, files: RunFiles) -> None:
    if are_nan(metrics):
        raise RunError(
            f"{files.folder}: the model's outputs on the test set are NaN, so no "
            "label was bought. Lower --learning-rate, or check the inputs."
        )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
