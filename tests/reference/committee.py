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


def laplace_samples(rng, logits, features, labelled, prior_precision, num_samples):
    """Logits of last layers drawn from the Gaussian around the trained one."""
    logits = np.asarray(logits, np.float64)
    inputs = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    rows = np.flatnonzero(labelled)
    precision = bayes.laplace_precision(logits, inputs, rows, prior_precision)
    covariance = np.linalg.inv(precision)
    shape = (num_samples, logits.shape[1], inputs.shape[1])
    layers = rng.multivariate_normal(
        np.zeros(len(covariance)), covariance, num_samples
    ).reshape(shape)
    return np.stack([logits + inputs @ layer.T for layer in layers])
