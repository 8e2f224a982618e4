"""scikit-learn: `kmeans_plusplus` on gradients that are written out."""

import numpy as np
from sklearn.cluster import kmeans_plusplus
from workloads import residuals

from peers import NotOfferedError, Run, Task


def prepare(task: Task) -> Run:
    """Returns k-means++ seeding with one trial a pick, the plain algorithm."""
    if task.work != "badge":
        raise NotOfferedError(f"scikit-learn has no {task.work}")
    rows = np.flatnonzero(~np.array(task.arrays["is_labelled"]))
    features, logits = (
        np.array(task.arrays[name][rows]) for name in ("features", "logits")
    )

    def run(seed: int) -> np.ndarray:
        gradients = residuals(logits)[:, :, None] * features[:, None, :]
        _, picks = kmeans_plusplus(
            gradients.reshape(len(features), -1),
            task.batch_size,
            random_state=seed,
            n_local_trials=1,
        )
        return rows[picks]

    return run
