"""Scores by the formulas of their papers, one row, one sample, one class at a time."""

import math
from collections.abc import Callable

import numpy as np

Row = list[float]


def softmax(logits: np.ndarray) -> Row:
    """Probabilities of one row `[C]`."""
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    return [w / math.fsum(weights) for w in weights]


def shannon(probabilities: Row) -> float:
    return -math.fsum(p * math.log(p) for p in probabilities if p > 0)


def _over_rows(score: Callable, logits: np.ndarray) -> np.ndarray:
    """Applies `score` to each row `[C]` of `[..., C]`."""
    logits = np.asarray(logits, np.float64)
    rows = logits.reshape(-1, logits.shape[-1])
    return np.array([score(row) for row in rows]).reshape(logits.shape[:-1])


def _over_sample_rows(score: Callable, samples: np.ndarray) -> np.ndarray:
    """Applies `score` to the list of `S` distributions of each row of `[S, ..., C]`."""
    samples = np.asarray(samples, np.float64)
    rows = np.moveaxis(samples.reshape(len(samples), -1, samples.shape[-1]), 0, 1)
    answers = np.array([score([softmax(sample) for sample in row]) for row in rows])
    return answers.reshape(samples.shape[1:-1] + answers.shape[1:])


def entropy(logits: np.ndarray) -> np.ndarray:
    return _over_rows(lambda row: shannon(softmax(row)), logits)


def margin(logits: np.ndarray) -> np.ndarray:
    def score(row: np.ndarray) -> float:
        ordered = sorted(softmax(row), reverse=True)
        return 1 - (ordered[0] - ordered[1])

    return _over_rows(score, logits)


def least_confidence(logits: np.ndarray) -> np.ndarray:
    return _over_rows(lambda row: 1 - max(softmax(row)), logits)


def expected_gradient_length(
    logits: np.ndarray, features: np.ndarray, bias: bool = True
) -> np.ndarray:
    """Writes out each label's gradient of the last layer and measures it."""
    lengths = []
    for row, feature_row in zip(logits, features, strict=True):
        probabilities = np.array(softmax(np.asarray(row, np.float64)))
        h = np.asarray(feature_row, np.float64)
        h = np.append(h, 1.0) if bias else h
        expected = 0.0
        for label, p in enumerate(probabilities):
            residual = probabilities.copy()
            residual[label] -= 1
            expected += p * np.linalg.norm(np.outer(residual, h))
        lengths.append(expected)
    return np.array(lengths)


def unit_gradient_length(logits: np.ndarray) -> np.ndarray:
    def score(row: np.ndarray) -> float:
        return expected_gradient_length(row[None], np.ones((1, 1)), bias=False)[0]

    return _over_rows(score, logits)


def _mean(samples: list[Row]) -> Row:
    return [math.fsum(column) / len(samples) for column in zip(*samples, strict=True)]


def bald(samples: np.ndarray) -> np.ndarray:
    def score(rows: list[Row]) -> float:
        expected = math.fsum(shannon(row) for row in rows) / len(rows)
        return shannon(_mean(rows)) - expected

    return _over_sample_rows(score, samples)


def consensus_kl(samples: np.ndarray) -> np.ndarray:
    def divergence(row: Row, consensus: Row) -> float:
        pairs = zip(row, consensus, strict=True)
        return math.fsum(p * math.log(p / q) for p, q in pairs if p > 0)

    def score(rows: list[Row]) -> float:
        consensus = _mean(rows)
        return math.fsum(divergence(row, consensus) for row in rows) / len(rows)

    return _over_sample_rows(score, samples)


def expected_entropy(samples: np.ndarray) -> np.ndarray:
    def score(rows: list[Row]) -> float:
        return math.fsum(shannon(row) for row in rows) / len(rows)

    return _over_sample_rows(score, samples)


def consensus_entropy(samples: np.ndarray) -> np.ndarray:
    return _over_sample_rows(lambda rows: shannon(_mean(rows)), samples)


def mean_std(samples: np.ndarray) -> np.ndarray:
    def score(rows: list[Row]) -> float:
        total = 0.0
        for column, mean in zip(zip(*rows, strict=True), _mean(rows), strict=True):
            total += math.sqrt(sum((p - mean) ** 2 for p in column) / len(rows))
        return total / len(rows[0])

    return _over_sample_rows(score, samples)


def log_mean_prob(samples: np.ndarray) -> np.ndarray:
    def logs(rows: list[Row]) -> Row:
        return [math.log(p) if p > 0 else -math.inf for p in _mean(rows)]

    return _over_sample_rows(logs, samples)


def _vote_shares(samples: np.ndarray) -> np.ndarray:
    """Share of the samples that rank each class first, `[..., C]`."""
    shares = np.zeros(samples.shape[1:])
    for sample in samples:
        for where in np.ndindex(sample.shape[:-1]):
            shares[where + (int(np.argmax(sample[where])),)] += 1 / len(samples)
    return shares


def vote_entropy(samples: np.ndarray) -> np.ndarray:
    shares = _vote_shares(samples)
    rows = [shannon(list(row)) for row in shares.reshape(-1, shares.shape[-1])]
    return np.array(rows).reshape(shares.shape[:-1])


def variation_ratio(samples: np.ndarray) -> np.ndarray:
    return 1 - _vote_shares(samples).max(axis=-1)
