"""baal: heuristics that rank rows."""

import numpy as np
from baal.active.heuristics import Entropy

from peers import NotOfferedError, Run, Task


def prepare(task: Task) -> Run:
    """Returns one ranking of the pool by entropy."""
    if task.work != "ranked":
        raise NotOfferedError(f"baal has no {task.work}")
    logits = np.array(task.arrays["logits"])[~np.array(task.arrays["is_labelled"])]
    rows = np.flatnonzero(~np.array(task.arrays["is_labelled"]))

    def run(seed: int) -> np.ndarray:
        return rows[Entropy()(logits)[: task.batch_size]]

    return run
