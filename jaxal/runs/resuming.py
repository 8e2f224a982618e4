"""Where a run begins, or goes on: what is on disk, and whether it is this run's."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from jaxal.pools.answers import as_selection
from jaxal.pools.pool import is_answer
from jaxal.rounds import LoopState
from jaxal.runs import checkpoint, ledger, provenance, store
from jaxal.runs.buying import buy, buy_initial
from jaxal.runs.displays import Display
from jaxal.runs.errors import RunError
from jaxal.runs.experiment import Experiment
from jaxal.runs.history import Entry, happened, history_of
from jaxal.runs.store import Record, RunFiles


class Saved(NamedTuple):
    """The part of a `LoopState` that is not the data set itself."""

    labels: Array  # [N] int32, -1 where nobody has answered
    is_labelled: Array  # [N] bool
    learner: Any
    round: Array  # [] int32
    memory: Any  # what the strategy remembers


def claim(experiment: Experiment, files: RunFiles, command: str) -> Record:
    """Returns config.json, written now or found to say the same."""
    if not files.config.exists():
        if files.queries.exists() or files.rounds.exists():
            raise RunError(
                f"{files.folder} holds results but no config.json. Restore it, use "
                "another --name, or --overwrite."
            )
        begun = {"format": provenance.FORMAT, "settings": experiment.settings}
        begun |= {
            "environment": provenance.environment(),
            "command": command,
            "resumed": [],
        }
        store.write_json(files.config, begun)
        return begun
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
    return found


def note_environment(
    files: RunFiles, display: Display, config: Record, records: list[Record]
) -> None:
    """Says and writes down that a run goes on with other software than before."""
    here = provenance.environment()
    last = config["resumed"][-1] if config["resumed"] else config["environment"]
    changed = provenance.differences(last, here)
    if changed and not (records and records[-1]["is_last"]):
        display.message(
            "Continuing with other software than before, so rounds may not repeat bit "
            "for bit: " + "; ".join(changed)
        )
        config["resumed"].append({"round": len(records), **here})
        store.write_json(files.config, config)


def resume(
    experiment: Experiment, files: RunFiles, display: Display, records: list[Record]
) -> tuple[LoopState, list[Record]]:
    """The state after the last round of which both line and checkpoint are whole."""
    state = experiment.loop.init(experiment.key_weights, experiment.pool, None)
    num_classes = experiment.loop.classes(state)
    entries = ledger.read(experiment, files, num_classes)
    ledger.compare(files, entries, experiment.pool, records)
    store.repair_lines(files.queries)  # not before it is known to be this run's
    newest = entries[-1].round if entries else 0
    asked, rows = _asked(experiment, files, entries, newest)
    # What comes once a round was asked for is for that round to know, not for others.
    newest = max(newest, asked)
    ledger.note_new_rows(experiment, files, entries, newest)
    entries = ledger.read(experiment, files, num_classes)
    pool = buy_initial(experiment, files, display.message, num_classes, newest == 0)
    state = state._replace(pool=pool)
    found = last_state(experiment, files, records, entries, state, display.message)
    complete = 0 if found is None else found[0] + 1
    if records[complete:]:
        display.message(
            f"Rounds {complete} to {len(records) - 1} are computed again, from the "
            "last state that is whole; labels that were bought are not asked for again."
        )
        store.rewrite_lines(files.rounds, records[:complete])
    if found is not None:
        state = found[1]
        ledger.check_state(files, entries, experiment.pool, state, found[0])
        display.message(f"Continuing {files.folder} after round {found[0]}.")
    if asked == complete + 1 and rows:  # looks for answers before it trains once more
        selection = as_selection(np.array(rows, np.int32))
        buy(experiment, files, display.message, num_classes, asked, selection)
    return state, records[:complete]


def last_state(
    experiment: Experiment,
    files: RunFiles,
    records: list[Record],
    entries: list[Entry],
    state: LoopState,
    warn: Callable[[str], None],
) -> tuple[int, LoopState] | None:
    """Returns the last round that is whole on disk, and the state after it.

    Args:
      experiment: what is run.
      files: of the run.
      records: of its rounds.
      entries: of its ledger.
      state: of the same shapes.
      warn: is told about checkpoints that are damaged.
    """
    found = checkpoint.load_latest(
        files.checkpoint,
        saved_part(state),
        lambda number: facts(experiment, records[: number + 1]),
        warn,
        before=len(records),
    )
    if found is None:
        return None
    index, saved = found
    came_and_went = ("extended", "withdrawn")
    events = [e for e in entries if e.round <= index + 1 and e.event in came_and_went]
    pool = happened(experiment.pool, events)
    pool = pool._replace(labels=saved.labels, is_labelled=saved.is_labelled)
    return index, LoopState(pool, saved.learner, saved.round, saved.memory)


def facts(experiment: Experiment, records: list[Record]) -> Record:
    """What a checkpoint belongs to: the pool, and what is on disk of rounds so far."""
    written = "\n".join(map(store.encode, records))
    digest = hashlib.sha256(written.encode()).hexdigest()
    return {"pool": experiment.settings["pool"], "rounds.jsonl": digest[:16]}


def saved_part(state: LoopState) -> Saved:
    """Returns what a checkpoint holds of a state."""
    pool = state.pool
    known = pool.labels, pool.is_labelled
    return Saved(*known, state.learner, state.round, state.memory)


def _config(files: RunFiles) -> Record:
    found = store.read_json(files.config)
    kinds = {"settings": dict, "environment": dict, "resumed": list}
    for name, kind in kinds.items():
        value = found.get(name) if isinstance(found, dict) else None
        parts = value if name == "resumed" and isinstance(value, list) else []
        if not isinstance(value, kind) or not all(isinstance(p, dict) for p in parts):
            raise RunError(
                f"{files.config} is damaged: its {name} is missing or odd. "
                "Use --overwrite or another --name."
            )
    if found.get("format") != provenance.FORMAT:
        raise RunError(
            f"{files.config} is of format {found.get('format')!r}, and this jaxal "
            f"writes {provenance.FORMAT}. Go on with the jaxal that began the run, or "
            "use --overwrite or another --name."
        )
    return found


def _asked(
    experiment: Experiment, files: RunFiles, entries: list[Entry], newest: int
) -> tuple[int, list[int]]:
    """The round that people were asked for and what, 0 and nothing if they were not."""
    if not files.asked.exists():
        return 0, []
    try:
        found = store.read_json(files.asked)
        asked, rows = found["round"], found["rows"]
        known = history_of(experiment.pool, entries, asked - 1).labels
        is_whole = type(asked) is int and 1 <= asked <= newest + 1
        is_whole &= all(type(row) is int and row >= 0 for row in rows)
        is_whole &= len(set(rows)) == len(rows)
        is_whole &= not is_answer(known[np.array(rows, np.int32)]).any()
    except (RunError, KeyError, TypeError, ValueError, IndexError, OverflowError):
        is_whole = False
    if not is_whole:
        raise RunError(
            f"{files.asked} is damaged. Remove it: what it says is found out again."
        )
    return asked, rows
