"""modAL: `multi_argmax` over an entropy."""

import numpy as np
import scipy.stats
from modAL.utils.selection import multi_argmax

from peers import NotOfferedError, Run, Task


def prepare(task: Task) -> Run:
    """Returns one choice of the rows of highest entropy, as its samplers make it."""
    if task.work != "ranked":
        raise NotOfferedError(f"modAL has no {task.work}")
    logits = np.array(task.arrays["logits"])
    is_labelled = np.array(task.arrays["is_labelled"])

    def run(seed: int) -> np.ndarray:
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities = weights / weights.sum(-1, keepdims=True)
        entropy = scipy.stats.entropy(probabilities, axis=-1)
        entropy[is_labelled] = -np.inf
        return multi_argmax(entropy, n_instances=task.batch_size)[0]

    return run
