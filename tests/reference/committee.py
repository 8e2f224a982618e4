"""Strategies in float64 NumPy: which rows their papers would pick, with loops."""

import numpy as np

from tests.reference import bayes, scores


def best(worth, available, batch_size):
    """Available rows of the highest worth, the lower row on a tie."""
    rows = [n for n in range(len(worth)) if available[n]]
    return sorted(rows, key=lambda n: (-worth[n], n))[:batch_size]


def cosine(first, second):
    """Cosine of the angle between two features, 0 if one is zero."""
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return first @ second / lengths if lengths > 0 else 0.0


def information_density(logits, features, available, exponent):
    """Settles and Craven, equation 13: entropy times mean similarity to the pool."""
    features = np.asarray(features, np.float64)
    worth = []
    for n in range(len(features)):
        similar = [
            (1 + cosine(features[n], features[u])) / 2
            for u in range(len(features))
            if available[u]
        ]
        entropy = bayes.entropy(bayes.softmax(logits[n]))
        worth.append(entropy * np.mean(similar) ** exponent)
    return np.array(worth)


def batch_bald_among_the_best(samples, available, batch_size, num_candidates):
    """BatchBALD with only the rows of highest BALD for sale."""
    rows = best(scores.bald(samples), available, num_candidates)
    kept = np.isin(np.arange(len(available)), rows)
    return bayes.batch_bald(samples, kept, batch_size)[0]


def kronecker_precision(logits, features, rows, prior_precision):
    """The mean of the outputs' curvature, times the sum of the inputs'."""
    probs, size = bayes.softmax(logits), logits.shape[1] * features.shape[1]
    if len(rows) == 0:
        return prior_precision * np.eye(size)
    outputs = sum(np.diag(probs[n]) - np.outer(probs[n], probs[n]) for n in rows)
    inputs = sum(np.outer(features[n], features[n]) for n in rows)
    return prior_precision * np.eye(size) + np.kron(outputs / len(rows), inputs)


def laplace_samples(rng, logits, features, precision, num_samples):
    """Logits of last layers drawn from the Gaussian around the trained one."""
    shape = (num_samples, logits.shape[1], features.shape[1])
    covariance = np.linalg.inv(precision)
    zero = np.zeros(len(covariance))
    layers = rng.multivariate_normal(zero, covariance, num_samples).reshape(shape)
    return np.stack([logits + features @ layer.T for layer in layers])
