"""Libraries that select batches, each behind the same two functions.

A module here has `prepare(task) -> run`, where `run(seed)` returns `[K]` rows. What
`prepare` does is not timed: imports, copies into the library's own arrays, compiling.
Everything an acquisition computes from features and logits is in `run`.
"""

import importlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# In the order in which they take turns.
PEERS = {
    "jaxal": "peers.jaxal_peer",
    "torch": "peers.torch_peer",
    "numpy": "peers.numpy_peer",
    "scikit-activeml": "peers.skactiveml_peer",
    "scikit-learn": "peers.sklearn_peer",
    "baal": "peers.baal_peer",
    "modAL": "peers.modal_peer",
}


class Task(NamedTuple):
    """What one library is asked to do."""

    work: str  # "badge", "coreset", "ranked", or the name of a strategy
    arrays: dict[str, np.ndarray]  # features [N, D], logits [N, C], is_labelled [N]
    batch_size: int

    def head(self, rows: int, batch_size: int) -> "Task":
        """A small piece of it, to load what a library loads at its first call."""
        small = {name: values[:rows] for name, values in self.arrays.items()}
        return self._replace(arrays=small, batch_size=batch_size)


class NotOfferedError(Exception):
    """The library has no such method."""


Run = Callable[[int], np.ndarray]


def offered(library: str, works: dict[str, Run], task: Task) -> Run:
    """Returns what a library does for a task, if it does."""
    if task.work not in works:
        raise NotOfferedError(f"{library} has no {task.work}")
    return works[task.work]


def prepare(name: str, task: Task) -> Run:
    """Returns what one library does for a task."""
    return importlib.import_module(PEERS[name]).prepare(task)
