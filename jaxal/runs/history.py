"""What the lines of a ledger make of a pool: labels, rows that came, that went."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxal.pools.changes import correct, forget, withdraw
from jaxal.pools.pool import is_answer
from jaxal.types import Pool

EVENTS = ("answered", "corrected", "forgotten", "withdrawn", "extended")


class Entry(NamedTuple):
    """A line of the ledger."""

    round: int  # the first that trains on it, 0 for the initial set
    row: int
    label: Any  # a class number or a real number, that of no answer included
    event: str = "answered"
    num_rows: int = 0  # that came, this one the first


class History:
    """What the lines so far make of a pool: labels, rows that came, that went."""

    def __init__(self, pool: Pool):
        self.labels = np.array(pool.labels)  # [N]
        self.num_rows = rows_there(pool)
        self.lines: dict[int, int] = {}  # from row to the line of its label
        self.withdrawn: set[int] = set()

    def add(self, entry: Entry, number: int) -> None:
        """Raises ValueError where an entry cannot follow on those before."""
        if entry.event == "extended":
            if entry.row != self.num_rows:
                raise ValueError(f"row {entry.row} came, expected row {self.num_rows}")
            self.num_rows += entry.num_rows
            return
        row, has_label = entry.row, bool(is_answer(self.labels[entry.row]))
        if row >= self.num_rows:
            raise ValueError(f"row {row} is in the pool only later")
        if row in self.withdrawn:
            raise ValueError(f"row {row} was withdrawn before")
        if entry.event == "answered" and has_label:
            known = self.lines.get(row)
            where = f", in line {known}" if known else " from the start"
            raise ValueError(f"row {row} has a label already{where}")
        if entry.event in ("corrected", "forgotten") and not has_label:
            raise ValueError(f"row {row} is {entry.event} and has no label")
        self.labels[row] = entry.label
        self.lines[row] = number
        if entry.event == "withdrawn":
            self.withdrawn.add(row)


def rows_there(pool: Pool) -> int:
    """Returns how many rows of a pool hold something."""
    if pool.is_spare is not None:
        return int((~np.asarray(pool.is_spare)).sum())
    return int(np.flatnonzero(np.asarray(pool.is_valid)).max(initial=-1)) + 1


def arrived_rows(pool: Pool, rows: np.ndarray) -> Pool:
    """Returns the pool in which rows that were spare are there."""
    if not rows.size or pool.is_spare is None:
        return pool
    return pool._replace(
        is_valid=pool.is_valid.at[rows].set(True),
        is_spare=pool.is_spare.at[rows].set(False),
    )


def history_of(pool: Pool, entries: Iterable[Entry], index: int) -> History:
    """Returns what entries that round `index` trains on make of a pool."""
    history = History(pool)
    for number, entry in enumerate(entries, start=1):
        if entry.round <= index:
            history.add(entry, number)
    return history


def happened(pool: Pool, entries: Iterable[Entry]) -> Pool:
    """Returns the pool after what entries say of rows besides answers."""
    rows: dict[str, dict[int, Entry]] = {event: {} for event in EVENTS}
    for entry in entries:
        rows[entry.event][entry.row] = entry  # the last word on it counts
    numbers = {
        event: np.array([*found], np.int32)
        for event, found in rows.items()
        if found and event != "answered"
    }
    for entry in rows["extended"].values():
        pool = arrived_rows(pool, np.arange(entry.row, entry.row + entry.num_rows))
    if "corrected" in numbers:
        labels = [entry.label for entry in rows["corrected"].values()]
        new = np.array(labels, np.asarray(pool.labels).dtype)
        pool = correct(pool, numbers["corrected"], new)
    if "forgotten" in numbers:
        pool = forget(pool, numbers["forgotten"])
    if "withdrawn" in numbers:
        pool = withdraw(pool, numbers["withdrawn"])
    return pool
