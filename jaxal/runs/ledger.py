"""The ledger of a run: who said what of which row, and whether that can be believed."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxal.pools.answers import is_regression
from jaxal.pools.pool import is_answer, unanswered
from jaxal.rounds import LoopState
from jaxal.runs import store
from jaxal.runs.errors import RunError
from jaxal.runs.experiment import Experiment
from jaxal.runs.history import EVENTS, Entry, History, history_of
from jaxal.runs.store import Record, RunFiles
from jaxal.types import Pool

_CURE = "Restore the file from a copy, or start again with --overwrite."
_MOST = float(np.finfo(np.float32).max)
_NUMBERS = int, float
_OF_RUN = "dataset", "preset", "strategy", "seed"


def read(
    experiment: Experiment, files: RunFiles, num_classes: int | None
) -> list[Entry]:
    """Returns the ledger, every line of which was looked at.

    Args:
      experiment: whose rows and classes they must be.
      files: of the run.
      num_classes: `C`, None where labels are no classes.

    Raises:
      RunError: a line is none that a run like this one writes; says which and why.
    """
    entries: list[Entry] = []
    history = History(experiment.pool)
    for number, line in enumerate(store.read_lines(files.queries), start=1):
        try:
            entry = _entry(experiment, line, num_classes)
            before = entries[-1].round if entries else 0
            if not before <= entry.round <= before + 1:
                raise ValueError(f"round is {entry.round}, after a line of {before}")
            history.add(entry, number)
        except ValueError as error:
            raise RunError(f"Line {number} of {files.queries}: {error}. {_CURE}") from (
                None
            )
        entries.append(entry)
    return entries


def read_rounds(files: RunFiles, settings: Record) -> list[Record]:
    """Returns the records of complete rounds, one after the other from round 0.

    Raises:
      RunError: a line is none that a run with these settings writes.
    """
    records = store.repair_lines(files.rounds)
    check_rounds(files, records)
    for index, record in enumerate(records):
        for name in _OF_RUN:
            if record.get(name) != settings[name]:
                raise RunError(
                    f"Line {index + 1} of {files.rounds} is of another run: {name} is "
                    f"{record.get(name)!r}, not {settings[name]!r}. {_CURE}"
                )
    return records


def check_rounds(files: RunFiles, records: list[Record]) -> None:
    """Raises where a line of rounds.jsonl is not one of rounds 0, 1, ... of a run."""
    kinds = {"round": int, "labels": int, "is_last": bool, "seconds": dict}
    for index, record in enumerate(records):
        odd = [
            name
            for name, kind in kinds.items()
            if not isinstance(record, dict) or type(record.get(name)) is not kind
        ]
        seconds = {} if odd else record["seconds"]
        odd += [
            f"{p} of seconds" for p, v in seconds.items() if type(v) not in _NUMBERS
        ]
        if odd or record["round"] != index:
            what = f"{odd[0]} is missing or odd" if odd else "its round is another"
            raise RunError(
                f"Line {index + 1} of {files.rounds} is not round {index}: {what}. "
                f"{_CURE}"
            )


def compare(
    files: RunFiles, entries: list[Entry], pool: Pool, records: list[Record]
) -> None:
    """Raises where rounds on disk trained on other numbers of labels than were bought.

    Args:
      files: of the run.
      entries: the ledger.
      pool: before the run.
      records: of complete rounds.
    """
    for record in records:
        labels = history_of(pool, entries, record["round"]).labels
        if (known := int(is_answer(labels).sum())) != record["labels"]:
            raise RunError(
                f"Round {record['round']} trained on {record['labels']} labels says "
                f"{files.rounds}, and {files.queries} has {known}. {_CURE}"
            )


def check_state(
    files: RunFiles, entries: list[Entry], pool: Pool, state: LoopState, index: int
) -> None:
    """Raises where the state after a round holds other labels than the ledger.

    Args:
      files: of the run.
      entries: the ledger.
      pool: before the run.
      state: as a checkpoint has it, after the answers to what round `index` asked.
      index: the round.
    """
    expected = history_of(pool, entries, index + 1).labels
    found = np.asarray(state.pool.labels)
    differs = np.flatnonzero(
        (found != expected) & (is_answer(found) | is_answer(expected))
    )
    if differs.size:
        row = int(differs[0])
        raise RunError(
            f"{files.queries} and the checkpoint after round {index} disagree on "
            f"{differs.size} labels: row {row} is {expected[row]} in the one and "
            f"{found[row]} in the other. To train on the file as it is, remove "
            f"{files.checkpoint} and {files.rounds}; else restore the file."
        )


def note_new_rows(
    experiment: Experiment, files: RunFiles, entries: list[Entry], newest: int
) -> None:
    """Writes down that rows came since round `newest`; the next choice sees them."""
    first = history_of(experiment.pool, entries, newest).num_rows
    if experiment.num_rows is None or experiment.num_rows <= first:
        return
    assert experiment.digest is not None
    count = experiment.num_rows - first
    more = {
        "event": "extended",
        "rows": count,
        "digest": experiment.digest(first, first + count),
    }
    none = unanswered(np.asarray(experiment.pool.labels).dtype)
    told = [(first, None, none, more)]
    store.append_lines(files.queries, lines(experiment, newest, told))


def lines(
    experiment: Experiment,
    index: int,
    asked: Iterable[tuple[int, float | None, Any, Record]],
) -> list[Record]:
    """Returns what is written for answers to the questions of a round.

    Args:
      experiment: whose rows they are.
      index: the first round that trains on them.
      asked: row, score (None where nobody chose it), label and what else is known.
    """
    names = experiment.names
    return [
        {
            "round": index,
            "row": int(row),
            "id": str(experiment.ids[row]),
            "label": label if names is None else names.called([label])[0],
            **({} if score is None else {"score": float(score)}),
            "cost": 0.0 if score is None else 1.0,
            "oracle": experiment.oracle,
            "dataset": experiment.settings["dataset"],
            **more,
        }
        for row, score, label, more in asked
    ]


def _entry(experiment: Experiment, line: Any, num_classes: int | None) -> Entry:
    if not isinstance(line, dict):
        raise ValueError("it is no record with names")
    if missing := {"round", "row", "id", "label"} - line.keys():
        raise ValueError(f"it has no {sorted(missing)[0]}")
    index, row = line["round"], line["row"]
    if type(index) is not int or type(row) is not int:
        raise ValueError(f"round {index!r} and row {row!r} are not both integers")
    if not 0 <= row < len(experiment.ids):
        raise ValueError(f"row {row} is none of 0 to {len(experiment.ids) - 1}")
    if line["id"] != str(experiment.ids[row]):
        raise ValueError(
            f"row {row} is called {line['id']!r}, in this pool "
            f"{str(experiment.ids[row])!r}"
        )
    event = line.get("event", "answered")
    if event not in EVENTS:
        raise ValueError(f"event {event!r} is none of {', '.join(EVENTS)}")
    label = _label(experiment, line["label"], num_classes)
    if event != "answered" and (event == "corrected") != bool(
        is_answer(np.asarray(label))
    ):
        raise ValueError(f"row {row} is {event} with label {line['label']!r}")
    if event != "extended":
        return Entry(index, row, label, event)
    count = line.get("rows")
    if type(count) is not int or not 1 <= count <= len(experiment.ids) - row:
        raise ValueError(
            f"rows is {count!r}, expected 1 to {len(experiment.ids) - row}"
        )
    if experiment.digest is None or line.get("digest") != experiment.digest(
        row, row + count
    ):
        raise ValueError(f"the {count} rows from {row} on are not those that came")
    return Entry(index, row, label, event, count)


def _label(experiment: Experiment, label: Any, num_classes: int | None) -> Any:
    if experiment.names is not None:
        if isinstance(label, dict | list):
            raise ValueError(f"label {label!r} is no name")
        return int(experiment.names.numbers([label])[0])
    if is_regression(experiment.pool):
        is_number = type(label) in (int, float) and abs(label) <= _MOST
        if label is not None and not is_number:
            raise ValueError(f"label {label!r} is no number")
        return unanswered(np.float32) if label is None else np.float32(label)
    if type(label) is not int or not -1 <= label < (num_classes or 2**31):
        raise ValueError(f"label {label!r} is no class 0 to {(num_classes or 0) - 1}")
    return label
