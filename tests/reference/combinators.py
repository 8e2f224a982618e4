"""Strategies of strategies one pick at a time, in float64, from the papers."""

import numpy as np

from tests.reference.selection import k_center


def margin_scores(logits):
    """Returns `[N]` one minus the difference of the two largest probabilities."""
    scores = []
    for row in np.asarray(logits, np.float64):
        probs = np.exp(row - row.max())
        probs = np.sort(probs / probs.sum())
        scores.append(1 - (probs[-1] - probs[-2]))
    return np.array(scores)


def best_rows(scores, is_available, count):
    """Returns up to `count` available rows, best first, ties to the lower row."""
    rows = [row for row in range(len(scores)) if is_available[row]]
    return sorted(rows, key=lambda row: (-scores[row], row))[:count]


def uncertain_then_k_center(logits, features, is_available, is_labelled, k, factor):
    """Core-set among the `factor * k` rows of smallest margin."""
    shortlist = best_rows(margin_scores(logits), is_available, factor * k)
    among = np.isin(np.arange(len(is_available)), shortlist)
    return k_center(np.asarray(features), among, is_labelled, min(k, len(shortlist)))


def balanced(proposals, predicted, labels, num_classes, k):
    """Buys the best proposal of the class that has least, again and again."""
    counts = [int(np.sum(labels == c)) for c in range(num_classes)]
    left, picks = list(proposals), []
    while left and len(picks) < k:
        least = min(counts[predicted[row]] for row in left)
        row = next(row for row in left if counts[predicted[row]] == least)
        left.remove(row)
        counts[predicted[row]] += 1
        picks.append(row)
    return picks


def one_after_another(score_columns, sizes, is_available):
    """Each score takes its share of what the ones before have left."""
    free, picks = np.array(is_available), []
    for scores, size in zip(score_columns, sizes, strict=True):
        for row in best_rows(scores, free, size):
            free[row] = False
            picks.append(row)
    return picks


def galaxy_line(logits, rows, c):
    """Returns `rows` from surely of class c to surely not."""
    shifted = np.asarray(logits, np.float64)
    probs = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    best = probs.max(axis=1)
    return sorted(rows, key=lambda r: (best[r] - probs[r, c], -best[r], r))


def shortest_shortest_paths(line, known, c, order):
    """Returns the shortest paths between unlike labelled rows, by search.

    Rows at most `order` places apart on the line are linked, save labelled rows of
    which one is of class c and the other is not.
    """

    def is_linked(i, j):
        a, b = known[line[i]], known[line[j]]
        return a < 0 or b < 0 or (a == c) == (b == c)

    paths = [[i] for i in range(len(line)) if known[line[i]] == c]
    seen = {path[0] for path in paths}
    while paths:
        longer, ends = [], []
        for path in paths:
            i = path[-1]
            for j in range(max(i - order, 0), min(i + order + 1, len(line))):
                if j not in path and is_linked(i, j):
                    if known[line[j]] not in (-1, c):
                        ends.append([*path, j])
                    elif j not in seen:
                        longer.append([*path, j])
        if ends:
            return ends
        seen |= {path[-1] for path in longer}
        paths = longer
    return []


def galaxy_choices(logits, is_available, known, c):
    """Returns the rows GALAXY may ask next on the line of class c, and the order.

    Every middle of every shortest shortest path at the first order that has one; all
    available rows, and order None, where there is none at any order.
    """
    rows = [r for r in range(len(known)) if is_available[r] or known[r] >= 0]
    line = galaxy_line(logits, rows, c)
    for order in range(1, len(line)):
        ends = shortest_shortest_paths(line, known, c, order)
        if ends:
            middles = set()
            for path in ends:
                middles |= {path[(len(path) - 1) // 2], path[len(path) // 2]}
            return {line[i] for i in middles}, order
    return {r for r in rows if is_available[r]}, None


def exp4p(weights, chances, arm, reward, least, delta, horizon):
    """Returns the weights after one round of EXP4.P and the next probabilities."""
    num_arms, updated = len(weights), []
    for e in range(num_arms):
        estimate = reward / chances[e] if e == arm else 0.0
        bound = np.sqrt(np.log(num_arms / delta) / (num_arms * horizon)) / chances[e]
        updated.append(weights[e] * np.exp(least / 2 * (estimate + bound)))
    total = sum(updated)
    probs = [(1 - num_arms * least) * w / total + least for w in updated]
    return np.array(updated), np.array(probs)


def weighted_accuracy(batches, is_right):
    """Returns the importance-weighted accuracy of `(rows, chances, free)` batches."""
    total = 0.0
    for rows, odds, num_free in batches:
        for row, chance in zip(rows, odds, strict=True):
            total += is_right[row] / chance / num_free
    return min(total / len(batches), 1.0)


def logistic_logits(x, classes, is_train, num_classes, l2=1e-2):
    """Returns `[M, C]` logits of softmax regression, by another optimizer."""
    from scipy.optimize import minimize

    x = np.concatenate([np.asarray(x, np.float64), np.ones((len(x), 1))], axis=1)
    if not np.any(is_train):
        return np.zeros((len(x), num_classes))
    seen, target = x[is_train], np.eye(num_classes)[classes[is_train]]

    def loss(flat):
        w = flat.reshape(-1, num_classes)
        z = seen @ w
        z -= z.max(axis=1, keepdims=True)
        probs = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        value = -np.mean(np.log(probs[target == 1])) + l2 / 2 * np.sum(w**2)
        return value, (seen.T @ (probs - target) / len(seen) + l2 * w).ravel()

    start = np.zeros(x.shape[1] * num_classes)
    options = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 2000}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    return x @ found.x.reshape(-1, num_classes)


def regime_errors(x, pool, classes, num_classes, fraction, num_folds):
    """Returns held-out errors without typical and without doubtful labels.

    `x` are the labelled rows in the order that makes the folds, `pool` all rows.
    """
    x, pool = np.asarray(x, np.float64), np.asarray(pool, np.float64)
    distances = np.sqrt(((x[:, None] - pool[None]) ** 2).sum(axis=-1))
    typical = 1 / np.sort(distances, axis=1)[:, 1:21].mean(axis=1)  # 0 is the row
    centred = x - x.mean(axis=0)
    scaled = centred / np.sqrt((centred**2).sum(axis=1).mean())
    fold = np.arange(len(x)) % num_folds
    doubt = np.zeros(len(x))
    for f in range(num_folds):
        logits = logistic_logits(scaled, classes, fold != f, num_classes)
        doubt[fold == f] = margin_scores(logits)[fold == f]
    wrong = [0, 0]
    for f in range(num_folds):
        for i, scores in enumerate((typical, doubt)):
            kept = fold != f
            for c in range(num_classes):
                rows = [r for r in range(len(x)) if fold[r] != f and classes[r] == c]
                rows.sort(key=lambda r: -scores[r])
                kept[rows[: int(np.floor(fraction * len(rows) + 1e-4))]] = False
            logits = logistic_logits(scaled, classes, kept, num_classes)
            is_wrong = logits.argmax(axis=1) != classes
            wrong[i] += int(is_wrong[fold == f].sum())
    return np.array(wrong) / len(x)
