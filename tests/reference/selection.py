"""Selection one pick at a time, in float64, as the papers write it."""

from itertools import permutations

import numpy as np


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns `[N, M]` squared distances by subtraction."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.sum(np.square(x[:, None] - y[None]), axis=-1)


def nearest(x: np.ndarray, centres: list[int]) -> np.ndarray:
    """Returns `[N]` squared distances to the nearest of the rows `centres`."""
    found = np.full(len(x), np.inf)
    for centre in centres:
        found = np.minimum(found, squared_distances(x, x[[centre]])[:, 0])
    return found


def k_center(x, is_available, is_labelled, batch_size, weights=None, choose=np.argmax):
    """Farthest-first traversal; the first centre has the largest norm."""
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    centres, picks = list(np.flatnonzero(is_labelled)), []
    open_rows = np.array(is_available)
    for _ in range(batch_size):
        if centres:
            values = weights * nearest(x, centres)
        else:
            values = weights * np.sum(np.square(np.asarray(x, np.float64)), axis=-1)
        pick = int(choose(np.where(open_rows, values, -np.inf)))
        open_rows[pick] = False
        centres.append(pick)
        picks.append(pick)
    return picks


def k_means_plus_plus(rng, x, is_available, is_labelled, batch_size, weights=None):
    """Draws rows in proportion to weight times squared distance."""
    picks = []
    for _ in range(batch_size):
        probs = next_probabilities(x, is_available, is_labelled, picks, weights)
        picks.append(int(rng.choice(len(x), p=probs)))
    return picks


def next_probabilities(x, is_available, is_labelled, picks, weights=None):
    """Returns `[N]` probabilities of the next draw of k-means++."""
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    centres = list(np.flatnonzero(is_labelled)) + list(picks)
    values = weights * nearest(x, centres) if centres else weights.copy()
    values[~np.asarray(is_available)] = 0
    values[list(picks)] = 0
    return values / values.sum()


def batch_probabilities(x, is_available, is_labelled, batch_size, weights=None):
    """Returns the probability of every ordered batch, by enumeration."""
    rows = np.flatnonzero(is_available)
    found = {}
    for batch in permutations(rows.tolist(), batch_size):
        chance = 1.0
        for done in range(batch_size):
            past = batch[:done]
            probs = next_probabilities(x, is_available, is_labelled, past, weights)
            chance *= probs[batch[done]]
        found[batch] = chance
    return found


def covering_radius(x, is_labelled, picks) -> float:
    """Returns the largest distance of a row from its nearest centre."""
    centres = list(np.flatnonzero(is_labelled)) + list(picks)
    return float(np.sqrt(np.max(nearest(x, centres))))


def potential(x, centres) -> float:
    """Returns the sum of squared distances to the nearest centre."""
    return float(np.sum(nearest(x, list(centres))))
