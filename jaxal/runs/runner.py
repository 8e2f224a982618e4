"""The life of a run: begin or continue, round after round, until it is finished."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax import Array

from jaxal.pools.answers import as_selection
from jaxal.pools.pool import is_answer
from jaxal.rounds import LoopState
from jaxal.runs import checkpoint, compiles, ledger, provenance, store
from jaxal.runs.buying import buy, buy_initial
from jaxal.runs.experiment import Experiment
from jaxal.runs.store import Record, RunError, RunFiles, WaitingError
from jaxal.types import Pool, Selection

_LABELLING = "dataset", "source", "preset", "strategy", "seed"


class Display(Protocol):
    """Who is told how a run is doing."""

    def message(self, text: str) -> None:
        """Something a person should read."""
        ...

    def phase(self, name: str, index: int) -> Callable[[int, int], None]:
        """A part of a round begins; what is returned is called as it goes on."""
        ...

    def round(self, record: Record) -> None:
        """A round is complete."""
        ...


class Saved(NamedTuple):
    """The part of a `LoopState` that is not the data set itself."""

    labels: Array  # [N] int32, -1 where nobody has answered
    is_labelled: Array  # [N] bool
    learner: Any
    round: Array  # [] int32
    memory: Any  # what the strategy remembers


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
        _claim(experiment, files, display, command)
        records = ledger.read_rounds(files)
        if records and records[-1]["is_last"]:
            display.message(f"{files.folder} is finished: nothing left to do.")
            return records
        try:
            state, records = _resume(experiment, files, display, records)
            while len(records) < len(experiment.plan):
                state, record = _round(experiment, files, display, records, state)
                records.append(record)
                display.round(record)
                if record["is_last"]:
                    break
        except WaitingError as waiting:
            display.message(f"{files.folder}: {waiting}")
    return records


def _claim(
    experiment: Experiment, files: RunFiles, display: Display, command: str
) -> None:
    """Writes config.json, or makes sure that the one there says the same."""
    here = provenance.environment()
    if not files.config.exists():
        if files.queries.exists() or files.rounds.exists():
            raise RunError(
                f"{files.folder} holds results but no config.json. Restore it, use "
                "another --name, or --overwrite."
            )
        begun = {"format": provenance.FORMAT, "settings": experiment.settings}
        begun |= {"environment": here, "command": command, "resumed": []}
        store.write_json(files.config, begun)
        return
    found = _config(files)
    # The same data may have moved; its fingerprint, part of "pool", says if it is.
    aside = {"source": experiment.settings["source"]}
    before = provenance.complete(found["settings"]) | aside
    changed = provenance.differences(before, provenance.complete(experiment.settings))
    if changed:
        raise RunError(
            f"{files.folder} was made with other settings:\n  "
            + "\n  ".join(changed)
            + "\nUse another --name, or --overwrite to start again."
        )
    _note_environment(files, display, found, here)


def _config(files: RunFiles) -> Record:
    found = store.read_json(files.config)
    kinds = {"settings": dict, "environment": dict, "resumed": list}
    for name, kind in kinds.items():
        if not isinstance(found, dict) or not isinstance(found.get(name), kind):
            raise RunError(
                f"{files.config} is damaged: it has no {name}. Use --overwrite or "
                "another --name."
            )
    return found


def _note_environment(
    files: RunFiles, display: Display, found: Record, here: Record
) -> None:
    last = found["resumed"][-1] if found["resumed"] else found["environment"]
    changed = provenance.differences(last, here)
    rounds = store.read_lines(files.rounds)
    if changed and not (rounds and rounds[-1]["is_last"]):
        display.message(
            "Continuing with other software than before, so rounds may not repeat bit "
            "for bit: " + "; ".join(changed)
        )
        found["resumed"].append({"round": len(rounds), **here})
        store.write_json(files.config, found)


def _resume(
    experiment: Experiment, files: RunFiles, display: Display, records: list[Record]
) -> tuple[LoopState, list[Record]]:
    """The state after the last round of which both line and checkpoint are whole."""
    store.repair_lines(files.queries)
    state = experiment.loop.init(experiment.key_weights, experiment.pool, None)
    num_classes = experiment.loop.classes(state)
    entries = ledger.read(experiment, files, num_classes)
    ledger.compare(files, entries, experiment.pool, records)
    pool = buy_initial(experiment, files, display.message, num_classes)
    state = state._replace(pool=pool)
    found = checkpoint.load_latest(
        files.checkpoint,
        _saved(state),
        lambda number: _facts(experiment, records[: number + 1]),
        display.message,
        before=len(records),
    )
    complete = 0 if found is None else found[0] + 1
    if records[complete:]:
        display.message(
            f"Rounds {complete} to {len(records) - 1} are computed again, from the "
            "last state that is whole; labels that were bought are not asked for again."
        )
        store.rewrite_lines(files.rounds, records[:complete])
    if found is not None:
        state = _restored(found[1], pool)
        ledger.check_state(files, entries, experiment.pool, state, found[0])
        display.message(f"Continuing {files.folder} after round {found[0]}.")
    _collect_what_was_asked(experiment, files, display, complete, num_classes)
    return state, records[:complete]


def _collect_what_was_asked(
    experiment: Experiment,
    files: RunFiles,
    display: Display,
    index: int,
    num_classes: int | None,
) -> None:
    """Looks for answers to what round `index` asked, before it trains once more."""
    if not files.asked.exists():
        return
    asked = store.read_json(files.asked)
    rows = asked.get("rows") if isinstance(asked, dict) else None
    num_rows = len(experiment.ids)
    if not isinstance(rows, list) or not all(
        type(row) is int and 0 <= row < num_rows for row in rows
    ):
        raise RunError(
            f"{files.asked} is damaged. Remove it: what it says is found out again."
        )
    if asked.get("round") == index + 1 and rows:
        selection = as_selection(np.array(rows, np.int32))
        buy(experiment, files, display.message, num_classes, index + 1, selection)


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
        held_out = _validated(experiment, key, state)
    selection = None
    if not is_last:
        state, selection = _choose(
            experiment, display, index, key, state, fitted, seconds
        )
    _refuse_nan(metrics, files)
    bought = 0
    if selection is not None:
        with _timed(seconds, "label"):
            selection, labels = _buy(
                experiment, files, display, index, state, selection
            )
            state = loop.tell(state, selection, labels)
        bought = int((selection.is_valid & is_answer(labels)).sum())
        is_last = not bool(selection.is_valid.any())  # the pool is dry
    record = {
        "round": index,
        "labels": num_labelled,
        **({} if metrics is None else metrics._asdict()),
        **held_out,
        "measured": loop.measured,
        "loss": fit.loss,
        "bought": bought,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "compiles": compiles.count() - compiled,
        "is_last": is_last,
        **{name: experiment.settings[name] for name in _LABELLING},
    }
    record = json.loads(store.encode(record))  # as a later reader will find it
    facts = _facts(experiment, [*records, record])
    # The line comes last: a round counts once both are whole.
    checkpoint.save(files.checkpoint, index, _saved(state), facts)
    store.append_lines(files.rounds, [record])
    files.asked.unlink(missing_ok=True)
    return state, record


def _facts(experiment: Experiment, records: list[Record]) -> Record:
    """What a checkpoint belongs to: the pool, and what is on disk of rounds so far."""
    written = "\n".join(map(store.encode, records))
    digest = hashlib.sha256(written.encode()).hexdigest()
    return {"pool": experiment.settings["pool"], "rounds.jsonl": digest[:16]}


def _buy(
    experiment: Experiment,
    files: RunFiles,
    display: Display,
    index: int,
    state: LoopState,
    selection: Selection,
) -> tuple[Selection, Array]:
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
        looked = phases.look(key, state, progress, fitted=fitted)
        jax.block_until_ready(looked)
    with _timed(seconds, "select"), _stopping(index):
        display.phase("select", index)
        return jax.block_until_ready(phases.decide(key, state, looked))


@contextlib.contextmanager
def _stopping(index: int) -> Iterator[None]:
    """What a loop objects to ends the run, with its reason."""
    try:
        yield
    except (FloatingPointError, ValueError) as error:
        raise RunError(
            f"Round {index} was stopped, no label was bought. {error}"
        ) from error


def _validated(experiment: Experiment, key: Array, state: LoopState) -> Record:
    if experiment.validate is None:
        return {}
    metrics = jax.device_get(experiment.validate(key, state))
    return {"validation": metrics._asdict()}


def _refuse_nan(metrics: Any, files: RunFiles) -> None:
    # A regression without a variance has no likelihood, but an error.
    telling = getattr(metrics, "rmse", getattr(metrics, "nll", 0.0))
    if np.isnan(telling):
        raise RunError(
            f"{files.folder}: the model's outputs on the test set are NaN, so no "
            "label was bought. Lower --learning-rate, or check the inputs."
        )


def _saved(state: LoopState) -> Saved:
    pool, learner, index, memory = state
    return Saved(pool.labels, pool.is_labelled, learner, index, memory)


def _restored(saved: Saved, pool: Pool) -> LoopState:
    pool = pool._replace(labels=saved.labels, is_labelled=saved.is_labelled)
    return LoopState(pool, saved.learner, saved.round, saved.memory)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
