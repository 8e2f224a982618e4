"""BADGE and Core-set in eager PyTorch: a pass over the pool for every pick.

The algorithms of `peers/torch_peer.py` on whichever device; BADGE keeps its gradients
factorised, as its authors' code does, Core-set takes labelled rows in blocks.
"""

from typing import Any

from accelerator.scales import PoolSize
from accelerator.subjects.torch_networks import device


def arrays(size: PoolSize) -> tuple[Any, Any, Any]:
    """Returns features, logits and the mask of labelled rows, on the device."""
    import torch

    def normal(*shape: int) -> Any:
        return torch.randn(shape, device=device())

    centres = 3 * normal(size.clusters, size.features)
    member = torch.randint(size.clusters, (size.rows,), device=device())
    features = normal(size.rows, size.features).add_(centres[member])
    logits = features @ (normal(size.features, size.classes) / size.features**0.5)
    is_labelled = torch.zeros(size.rows, dtype=torch.bool, device=device())
    is_labelled[torch.randperm(size.rows, device=device())[: size.labelled]] = True
    return features, logits, is_labelled


def badge(h: Any, logits: Any, is_labelled: Any, batch_size: int) -> Any:
    """k-means++ on gradients of the last layer."""
    import torch

    a = torch.softmax(logits, -1)
    a[torch.arange(len(a), device=a.device), a.argmax(-1)] -= 1
    norms = h.square().sum(-1) * a.square().sum(-1)
    picks = [int(norms.masked_fill(is_labelled, -1).argmax())]
    nearest = torch.full_like(norms, torch.inf)
    nearest[is_labelled] = 0  # never drawn, and no centres: gradients are new
    while len(picks) < batch_size:
        last = picks[-1]
        distances = norms + norms[last] - 2 * (h @ h[last]) * (a @ a[last])
        nearest = torch.minimum(nearest, distances.clamp_(min=0))
        nearest[last] = 0
        cdf = nearest.double().cumsum(0)
        point = torch.rand(1, dtype=torch.float64, device=a.device) * cdf[-1]
        picks.append(int(torch.searchsorted(cdf, point, right=True)))
    return picks


def coreset(h: Any, logits: Any, is_labelled: Any, batch_size: int) -> Any:
    """The farthest row, again and again."""
    import torch

    del logits
    norms = h.square().sum(-1)
    nearest = torch.full_like(norms, torch.inf)
    for block in torch.nonzero(is_labelled)[:, 0].split(64):
        distances = norms[:, None] + norms[block][None] - 2 * (h @ h[block].T)
        nearest = torch.minimum(nearest, distances.amin(-1))
    nearest[is_labelled] = -1
    picks: list[int] = []
    while len(picks) < batch_size:
        last = int(nearest.argmax())
        picks.append(last)
        distances = norms + norms[last] - 2 * (h @ h[last])
        nearest = torch.minimum(nearest, distances)
        nearest[last] = -1
    return picks


SELECTIONS = {"badge": badge, "coreset": coreset}
