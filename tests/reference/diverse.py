"""Diverse and last-layer strategies in float64, with loops, as in the papers."""

from itertools import product

import numpy as np


def softmax(logits) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def average_linkage(x, num_clusters: int) -> list[set[int]]:
    """Merges the two clusters of least average distance, looking at all every time."""
    x = np.asarray(x, np.float64)
    clusters = [{row} for row in range(len(x))]

    def distance(one, other):
        return np.mean([np.linalg.norm(x[i] - x[j]) for i in one for j in other])

    while len(clusters) > num_clusters:
        pairs = [(i, j) for j in range(len(clusters)) for i in range(j)]
        i, j = min(pairs, key=lambda p: distance(clusters[p[0]], clusters[p[1]]))
        clusters[i] |= clusters[j]
        del clusters[j]
    return clusters


def clusters_in_turn(clusters: list[set[int]], candidates, picks: list) -> list[set]:
    """Returns what each pick of Cluster-Margin may be, ties of size as it has them."""
    num_picks = len(picks)

    def place(cluster):
        return min([picks.index(row) for row in cluster if row in picks], default=99)

    held = [cluster & set(candidates) for cluster in clusters]
    held = [cluster for cluster in held if cluster]
    held.sort(key=lambda c: (len(c), place(c)))
    left, sequence = [len(cluster) for cluster in held], []
    while len(sequence) < num_picks and sum(left) > 0:
        for index, cluster in enumerate(held):
            if left[index] > 0:
                left[index] -= 1
                sequence.append(cluster)
    return sequence[:num_picks]


def divergence(p, q) -> float:
    """Returns the mean of KL(p|q) and KL(q|p), of probabilities of at least 1e-8."""
    total = 0.0
    for a, b in zip(np.maximum(p, 1e-8), np.maximum(q, 1e-8), strict=True):
        total += 0.5 * a * np.log(a / b) + 0.5 * b * np.log(b / a)
    return total


def farthest_by_divergence(
    logits, is_available, is_labelled, num_picks, choose=np.argmax
) -> list[int]:
    """Farthest-first traversal from the labelled rows, of which there are some."""
    probs = softmax(logits)
    centres, picks = list(np.flatnonzero(is_labelled)), []
    open_rows = set(np.flatnonzero(is_available).tolist())
    for _ in range(num_picks):
        far = {
            row: min(divergence(probs[row], probs[c]) for c in centres)
            for row in sorted(open_rows)
        }
        values = np.full(len(probs), -np.inf)
        values[list(far)] = list(far.values())
        pick = int(choose(values))
        open_rows.remove(pick)
        centres.append(pick)
        picks.append(pick)
    return picks


def mixing_changes(weights, bias, features, labels, is_labelled, epsilon) -> np.ndarray:
    """Returns which unlabelled rows change class when mixed with some anchor."""
    features = np.asarray(features, np.float64)
    anchors = [
        features[is_labelled & (labels == label)].mean(axis=0)
        for label in np.unique(labels[is_labelled])
    ]
    changes = np.zeros(len(features), bool)
    for row, h in enumerate(features):
        if is_labelled[row]:
            continue  # it may be an anchor itself, and is not asked about
        logits = weights @ h + bias
        label = int(np.argmax(logits))
        gradient = weights.T @ (softmax(logits) - np.eye(len(bias))[label])
        for anchor in anchors:
            apart = anchor - h
            scale = epsilon * np.linalg.norm(apart) / np.linalg.norm(gradient)
            alpha = scale * gradient / apart
            mixed = (1 - alpha) * h + alpha * anchor
            changes[row] |= int(np.argmax(weights @ mixed + bias)) != label
    return changes


def dropout_change_probabilities(weights, bias, features, rate) -> np.ndarray:
    """Returns each row's chance that one dropout changes its class, by all masks."""
    features = np.asarray(features, np.float64)
    chances = np.zeros(len(features))
    for row, h in enumerate(features):
        label = np.argmax(weights @ h + bias)
        for mask in product([0, 1], repeat=len(h)):
            kept = np.array(mask)
            chance = np.prod(np.where(kept, 1 - rate, rate))
            dropped = np.argmax(weights @ (h * kept / (1 - rate)) + bias)
            chances[row] += chance * (dropped != label)
    return chances


def taken_probabilities(x, num_picks, regularization) -> dict[tuple, float]:
    """Returns the chance of every set of rows VeSSAL takes as they come, unfilled."""
    x = np.asarray(x, np.float64)
    num_rows, num_dims = x.shape
    found: dict[tuple, float] = {}

    def walk(t, taken, inverse, chance):
        if chance == 0:
            return
        if t == num_rows:
            found[taken] = found.get(taken, 0.0) + chance
            return
        covariance = sum(np.outer(u, u) for u in x[: t + 1]) / (t + 1)
        gain = x[t] @ inverse @ x[t]
        rate = (num_picks - len(taken)) / (num_rows - t)
        p = min(1.0, rate * gain / np.trace(covariance @ inverse))
        grown = np.linalg.inv(np.linalg.inv(inverse) + np.outer(x[t], x[t]))
        walk(t + 1, (*taken, t), grown, chance * p)
        walk(t + 1, taken, inverse, chance * (1 - p))

    walk(0, (), np.eye(num_dims) / regularization, 1.0)
    return found
