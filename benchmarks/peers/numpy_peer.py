"""Plain NumPy: one pick after the other, on factors where there are factors."""

import numpy as np
from workloads import residuals

from peers import Run, Task, offered


def prepare(task: Task) -> Run:
    """Returns the sequential algorithm, written as vectors."""
    arrays = {name: np.array(values) for name, values in task.arrays.items()}
    h, is_labelled = arrays["features"], arrays["is_labelled"]

    def badge(seed: int) -> np.ndarray:
        rng, a = np.random.default_rng(seed), residuals(arrays["logits"])
        norms = np.einsum("nd,nd->n", h, h) * np.einsum("nc,nc->n", a, a)
        picks = [int(np.where(is_labelled, -1, norms).argmax())]
        nearest = np.full(len(h), np.inf, np.float32)
        nearest[is_labelled] = 0  # never drawn, and no centres: gradients are new
        while len(picks) < task.batch_size:
            last = picks[-1]
            inner = (h @ h[last]) * (a @ a[last])
            np.minimum(nearest, norms + norms[last] - 2 * inner, out=nearest)
            np.maximum(nearest, 0, out=nearest)
            nearest[last] = 0
            cdf = np.cumsum(nearest, dtype=np.float64)
            picks.append(int(np.searchsorted(cdf, rng.random() * cdf[-1], "right")))
        return np.array(picks)

    def coreset(seed: int) -> np.ndarray:
        norms = np.einsum("nd,nd->n", h, h)
        nearest = np.full(len(h), np.inf, np.float32)
        centres = np.flatnonzero(is_labelled)
        for start in range(0, len(centres), 64):
            block = centres[start : start + 64]
            distances = norms[:, None] + norms[block][None] - 2 * (h @ h[block].T)
            np.minimum(nearest, distances.min(-1), out=nearest)
        nearest[is_labelled] = -1
        picks = [] if len(centres) else [seed % len(h)]
        while len(picks) < task.batch_size:
            if picks:
                last = picks[-1]
                distances = norms + norms[last] - 2 * (h @ h[last])
                np.minimum(nearest, distances, out=nearest)
                nearest[last] = -1
            picks.append(int(nearest.argmax()))
        return np.array(picks)

    def ranked(seed: int) -> np.ndarray:
        shifted = arrays["logits"] - arrays["logits"].max(-1, keepdims=True)
        weights = np.exp(shifted)
        total = weights.sum(-1)
        entropy = np.log(total) - (weights * shifted).sum(-1) / total
        entropy[is_labelled] = -np.inf
        best = np.argpartition(-entropy, task.batch_size - 1)[: task.batch_size]
        return best[np.argsort(-entropy[best])]

    works = {"badge": badge, "coreset": coreset, "ranked": ranked}
    return offered("numpy", works, task)
