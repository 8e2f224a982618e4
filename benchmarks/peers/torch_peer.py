"""Plain PyTorch, eager: one pick after the other, on factors where there are factors.

BADGE draws as its paper says and keeps `(p - e_y) (x) h` factorised, as its authors'
code does. Core-set computes all distances to labelled rows in blocks first.
"""

import numpy as np
import torch

from peers import Run, Task, offered


def prepare(task: Task) -> Run:
    """Returns the sequential algorithm, written as eager tensor operations."""
    arrays = {k: torch.from_numpy(np.array(v)) for k, v in task.arrays.items()}
    h, is_labelled = arrays["features"], arrays["is_labelled"]

    @torch.no_grad()
    def badge(seed: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(seed)
        a = torch.softmax(arrays["logits"], -1)
        a[torch.arange(len(a)), a.argmax(-1)] -= 1
        norms = h.square().sum(-1) * a.square().sum(-1)
        picks = [int(norms.masked_fill(is_labelled, -1).argmax())]
        nearest = torch.full_like(norms, torch.inf)
        nearest[is_labelled] = 0  # never drawn, and no centres: gradients are new
        while len(picks) < task.batch_size:
            last = picks[-1]
            inner = (h @ h[last]) * (a @ a[last])
            distances = (norms + norms[last] - 2 * inner).clamp_(min=0)
            nearest = torch.minimum(nearest, distances)
            nearest[last] = 0
            cdf = nearest.double().cumsum(0)
            point = torch.rand(1, generator=generator, dtype=torch.float64) * cdf[-1]
            picks.append(int(torch.searchsorted(cdf, point, right=True)))
        return np.array(picks)

    @torch.no_grad()
    def coreset(seed: int) -> np.ndarray:
        norms = h.square().sum(-1)
        nearest = torch.full_like(norms, torch.inf)
        centres = torch.nonzero(is_labelled)[:, 0]
        for block in centres.split(64) if len(centres) else ():
            distances = norms[:, None] + norms[block][None] - 2 * (h @ h[block].T)
            nearest = torch.minimum(nearest, distances.amin(-1))
        nearest[is_labelled] = -1
        picks = [] if is_labelled.any() else [seed % len(h)]
        while len(picks) < task.batch_size:
            if picks:
                last = picks[-1]
                distances = norms + norms[last] - 2 * (h @ h[last])
                nearest = torch.minimum(nearest, distances)
                nearest[last] = -1
            picks.append(int(nearest.argmax()))
        return np.array(picks)

    @torch.no_grad()
    def ranked(seed: int) -> np.ndarray:
        entropy = torch.distributions.Categorical(logits=arrays["logits"]).entropy()
        entropy[is_labelled] = -torch.inf
        return entropy.topk(task.batch_size).indices.numpy()

    works = {"badge": badge, "coreset": coreset, "ranked": ranked}
    return offered("torch", works, task)
