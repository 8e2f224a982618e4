"""Bayesian selectors and scores in float64 NumPy, from the papers, with loops."""

import itertools

import numpy as np


def softmax(logits):
    """Probabilities over the last axis."""
    weights = np.exp(np.asarray(logits, np.float64) - np.max(logits, -1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def entropy(probs):
    """Entropy in nats of one distribution of any shape."""
    return -sum(p * np.log(p) for p in np.ravel(probs) if p > 0)


# BatchBALD (NeurIPS 2019)


def joint_probabilities(probs, rows):
    """`p(y_1, .., y_k)` of the rows, one axis a row, from `probs` [S, N, C]."""
    num_samples, _, num_classes = probs.shape
    joint = np.zeros((num_classes,) * len(rows))
    for labels in itertools.product(range(num_classes), repeat=len(rows)):
        for sample in range(num_samples):
            likelihoods = [
                probs[sample, n, c] for n, c in zip(rows, labels, strict=True)
            ]
            joint[labels] += np.prod(likelihoods) / num_samples
    return joint


def batch_mutual_information(probs, rows):
    """`I(y_1, .., y_k; w)`, equation 8 with the joint entropy of equation 10."""
    conditional = np.mean([sum(entropy(p[n]) for n in rows) for p in probs])
    return entropy(joint_probabilities(probs, rows)) - conditional


def batch_bald(logits, available, batch_size, choose=np.argmax):
    """Algorithm 1: the rows picked and what each added."""
    probs = softmax(logits)
    rows, gains, total = [], [], 0.0
    for _ in range(min(batch_size, int(np.sum(available)))):
        values = np.full(probs.shape[1], -np.inf)
        for n in range(probs.shape[1]):
            if available[n] and n not in rows:
                values[n] = batch_mutual_information(probs, [*rows, n])
        best = int(choose(values))
        rows.append(best)
        gains.append(values[best] - total)
        total = values[best]
    return rows, gains


# Stochastic batches (TMLR 2023)


def draw_probability(weights, order):
    """Probability of drawing rows in this order without replacement."""
    left, probability = list(range(len(weights))), 1.0
    for n in order:
        probability *= weights[n] / sum(weights[m] for m in left)
        left.remove(n)
    return probability


def power_weights(scores, coldness):
    """Power acquisition: scores to a power."""
    return [s**coldness for s in scores]


def softmax_weights(scores, coldness):
    """Softmax acquisition: a Gibbs distribution over scores."""
    return [np.exp(coldness * s) for s in scores]


def softrank_weights(scores, coldness):
    """Softrank acquisition: the inverse of the rank to a power, ranks from 1."""
    return [(1 + sum(t > s for t in scores)) ** -coldness for s in scores]


# Fisher information, BAIT (NeurIPS 2021) and its approximations (ECML 2024)


def fisher_columns(probs, feature, approximation, num_classes=2):
    """`V` with `V V^T` the Fisher information of one row, written out."""
    if approximation == "binary":
        highest = max(probs)
        return np.sqrt(highest * (1 - highest)) * np.asarray(feature)[:, None]
    classes = range(len(probs))
    if approximation == "top":
        classes = sorted(classes, key=lambda c: -probs[c])[:num_classes]
    mass = sum(probs[c] for c in classes)
    columns = []
    for c in classes:
        gradient = np.outer(np.eye(len(probs))[c] - probs, feature).ravel()
        columns.append(np.sqrt(probs[c] / mass) * gradient)
    return np.stack(columns, axis=1)


def fisher_matrix(probs, feature):
    """`(diag(p) - p p^T) (x) h h^T`."""
    return np.kron(np.diag(probs) - np.outer(probs, probs), np.outer(feature, feature))


def bait(columns, available, labelled, batch_size, regularization, oversample=2):
    """Forward and backward selection with explicit inverses; `columns` a list of V."""
    size = columns[0].shape[0]
    pool = [n for n in range(len(columns)) if available[n] or labelled[n]]
    target = sum(columns[n] @ columns[n].T for n in pool) / len(pool)
    total = sum(labelled) + batch_size
    start = regularization * np.eye(size)
    for n in np.flatnonzero(labelled):
        start = start + columns[n] @ columns[n].T / total

    def trace(rows):
        matrix = start.copy()
        for n in rows:
            matrix += columns[n] @ columns[n].T * batch_size / total
        return np.trace(np.linalg.inv(matrix) @ target)

    free = list(np.flatnonzero(available))
    rows, gains = [], []
    while len(rows) < min(len(free), int(np.ceil(oversample * batch_size))):
        left = [n for n in free if n not in rows]
        best = min(left, key=lambda n: trace([*rows, n]))
        gains.append(trace(rows) - trace([*rows, best]))
        rows.append(best)
    gains = dict(zip(rows, gains, strict=True))
    while len(rows) > batch_size:
        worst = min(rows, key=lambda n: trace([m for m in rows if m != n]))
        rows.remove(worst)
    return rows, [gains[n] for n in rows]


# EPIG (AISTATS 2023), information density (EMNLP 2008)


def epig(logits, targets):
    """Equation 7: mutual information with the label of a target, averaged."""
    probs, others = softmax(logits), softmax(targets)
    scores = []
    for n in range(probs.shape[1]):
        total = 0.0
        for t in range(others.shape[1]):
            joint = np.mean(
                [
                    np.outer(p, q)
                    for p, q in zip(probs[:, n], others[:, t], strict=True)
                ],
                axis=0,
            )
            total += entropy(joint.sum(1)) + entropy(joint.sum(0)) - entropy(joint)
        scores.append(total / others.shape[1])
    return np.array(scores)


def information_density(scores, features, exponent):
    """Every pair of rows compared."""
    weighted = []
    for score, own in zip(scores, features, strict=True):
        cosines = [
            own @ other / (np.linalg.norm(own) * np.linalg.norm(other))
            for other in features
        ]
        weighted.append(score * np.mean([(1 + c) / 2 for c in cosines]) ** exponent)
    return np.array(weighted)


# Laplace approximation of a last layer (NeurIPS 2021)


def laplace_precision(logits, features, rows, prior_precision):
    """Prior precision plus the Hessian of the rows' cross-entropy, class-major."""
    probs = softmax(logits)
    size = probs.shape[1] * features.shape[1]
    precision = prior_precision * np.eye(size)
    for n in rows:
        precision += fisher_matrix(probs[n], features[n])
    return precision


# Expected error reduction (ICML 2001)


def risk(probs, loss):
    """Mean loss a model expects of its own predictions."""
    if loss == "zero_one":
        return np.mean([1 - max(p) for p in probs])
    return np.mean([entropy(p) for p in probs])


def expected_error_reduction(
    logits, features, labels, labelled, targets, loss, prior_precision, num_steps
):
    """A last layer retrained for every row and label, with a written-out Hessian."""
    num_rows, num_classes = logits.shape
    logits, features = logits.astype(np.float64), features.astype(np.float64)
    probs = softmax(logits)
    known = np.flatnonzero(labelled)
    before = risk(probs[targets], loss)
    scores = []
    for n in range(num_rows):
        hessian = laplace_precision(logits, features, [*known, n], prior_precision)
        expected = 0.0
        for y in range(num_classes):
            layer = np.zeros((num_classes, features.shape[1]))
            answers = [(m, labels[m]) for m in known] + [(n, y)]
            for _ in range(num_steps):
                now = softmax(logits + features @ layer.T)
                gradient = prior_precision * layer
                for m, label in answers:
                    error = now[m] - np.eye(num_classes)[label]
                    gradient = gradient + np.outer(error, features[m])
                step = np.linalg.solve(hessian, gradient.ravel())
                layer = layer - step.reshape(layer.shape)
            after = softmax(logits + features @ layer.T)[targets]
            expected += probs[n, y] * risk(after, loss)
        scores.append(before - expected)
    return np.array(scores)
