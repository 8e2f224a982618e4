"""Arrays that every library is given, on disk, so that all see the same numbers."""

import pathlib
from typing import NamedTuple

import numpy as np

SPREADING = ("badge", "coreset")  # of which a floor and a quality are known
_CHUNK = 65536  # rows drawn at a time, so that a large pool needs no second copy


class Workload(NamedTuple):
    """What has to be selected from what."""

    work: str  # "badge", "coreset", "ranked", or the name of a strategy
    rows: int
    features: int
    classes: int
    batch_size: int
    labelled: int = 0
    clusters: int = 0

    @property
    def flops(self) -> float:
        """Operations of products that an exact method needs; 0 where none is known."""
        if self.work not in SPREADING:
            return 0.0
        rows = self.rows - self.labelled  # that may be picked
        if self.work == "badge":
            return 2.0 * rows * self.batch_size * (self.features + self.classes)
        centres = self.batch_size + self.labelled
        return 2.0 * rows * centres * self.features

    @property
    def bytes(self) -> int:
        """Bytes of the arrays that are handed over."""
        per_row = self.features + (self.classes if self.work != "coreset" else 0)
        return 4 * self.rows * per_row


def write(workload: Workload, folder: pathlib.Path, seed: int = 0) -> None:
    """Writes features [N, D], logits [N, C] and the mask of labelled rows [N].

    Args:
      workload: sizes; with clusters, features lie around so many centres.
      folder: where the .npy files go.
      seed: of all numbers.
    """
    rng = np.random.default_rng(seed)
    shape = (workload.rows, workload.features)
    features = _create(folder / "features.npy", shape)
    logits = _create(folder / "logits.npy", (workload.rows, workload.classes))
    weights = rng.standard_normal((workload.features, workload.classes))
    weights = (4 / np.sqrt(workload.features) * weights).astype(np.float32)
    centres = 3 * rng.standard_normal((max(1, workload.clusters), workload.features))
    centres = centres.astype(np.float32)
    for start in range(0, workload.rows, _CHUNK):
        chunk = features[start : start + _CHUNK]
        chunk[:] = rng.standard_normal(chunk.shape, np.float32)
        if workload.clusters:
            chunk += centres[rng.integers(workload.clusters, size=len(chunk))]
        logits[start : start + _CHUNK] = chunk @ weights
    features.flush()
    logits.flush()
    is_labelled = np.zeros(workload.rows, bool)
    is_labelled[rng.permutation(workload.rows)[: workload.labelled]] = True
    np.save(folder / "is_labelled.npy", is_labelled)


def read(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads them back, as memory maps."""
    return {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}


def quality(work: str, arrays: dict[str, np.ndarray], picks: np.ndarray) -> float:
    """How well picks spread, in float32 products: lower is better.

    The covering radius over picks and labelled rows for Core-set, the mean squared
    distance of gradients to the nearest pick for BADGE. Equal algorithms must agree on
    it, up to their random draws.
    """
    features, is_labelled = arrays["features"], arrays["is_labelled"]
    if work == "coreset":
        centres = np.concatenate([picks, np.flatnonzero(is_labelled)])
        nearest = _nearest(features, None, centres)
        return float(np.sqrt(nearest.max()))
    return float(_nearest(features, residuals(arrays["logits"]), picks).mean())


def residuals(logits: np.ndarray) -> np.ndarray:
    """Probabilities minus the one-hot vector of the likeliest class, `[N, C]`."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = shifted / shifted.sum(-1, keepdims=True)
    rows = np.arange(len(probabilities))
    probabilities[rows, probabilities.argmax(-1)] -= 1
    return probabilities


def _nearest(h: np.ndarray, a: np.ndarray | None, centres: np.ndarray) -> np.ndarray:
    chosen_h, chosen_a = h[centres], None if a is None else a[centres]
    found = []
    for start in range(0, len(h), 8192):
        part = h[start : start + 8192]
        norms, others, inner = _sq(part), _sq(chosen_h), part @ chosen_h.T
        if a is not None:
            part_a = a[start : start + 8192]
            norms, others = norms * _sq(part_a), others * _sq(chosen_a)
            inner = inner * (part_a @ chosen_a.T)
        distances = norms[:, None] + others[None] - 2 * inner
        found.append(np.maximum(distances.min(-1), 0))
    return np.concatenate(found)


def _sq(x: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", x, x)


def _create(path: pathlib.Path, shape: tuple[int, int]) -> np.ndarray:
    return np.lib.format.open_memmap(path, "w+", np.float32, shape)
