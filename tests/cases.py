"""The tables every new thing joins: one row buys all the tests that run over a table.

A row that cannot do something says so in a capability flag; tests never skip by name.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal import scores
from tests.reference import scores as reference


class Score(NamedTuple):
    """A function from logits to one number a row."""

    name: str
    function: Callable[[Array], Array]
    kind: str  # "single": [..., C] -> [...]; "samples": [S, ..., C] -> [...]
    reference: Callable[[np.ndarray], np.ndarray]
    upper: Callable[[int, int], float]  # (S, C) -> the largest value possible
    stream: scores.Stream | None = None
    is_per_class: bool = False  # -> [..., C], and no score but a prediction
    counts_votes: bool = False  # jumps where two classes tie, so rounding may decide

    def __str__(self) -> str:
        return self.name


def unit_gradient_length(logits: Array) -> Array:
    """Expected gradient length with one feature of length 1: what logits contribute."""
    ones = jnp.ones((*jnp.shape(logits)[:-1], 1))
    return scores.expected_gradient_length(logits, ones, bias=False)


def _log_classes(num_samples: int, num_classes: int) -> float:
    return math.log(num_classes)


def _log_distinct(num_samples: int, num_classes: int) -> float:
    return math.log(min(num_samples, num_classes))


SCORES = [
    Score("entropy", scores.entropy, "single", reference.entropy, _log_classes),
    Score("margin", scores.margin, "single", reference.margin, lambda s, c: 1),
    Score(
        "least_confidence",
        scores.least_confidence,
        "single",
        reference.least_confidence,
        lambda s, c: 1 - 1 / c,
    ),
    Score(
        "expected_gradient_length",
        unit_gradient_length,
        "single",
        reference.unit_gradient_length,
        lambda s, c: math.sqrt(1 - 1 / c),
    ),
    Score(
        "bald",
        scores.bald,
        "samples",
        reference.bald,
        _log_distinct,
        stream=scores.bald_stream,
    ),
    Score(
        "consensus_kl",
        scores.consensus_kl,
        "samples",
        reference.consensus_kl,
        _log_distinct,
        stream=scores.bald_stream,
    ),
    Score(
        "expected_entropy",
        scores.expected_entropy,
        "samples",
        reference.expected_entropy,
        _log_classes,
        stream=scores.expected_entropy_stream,
    ),
    Score(
        "consensus_entropy",
        scores.consensus_entropy,
        "samples",
        reference.consensus_entropy,
        _log_classes,
        stream=scores.consensus_entropy_stream,
    ),
    Score(
        "mean_std",
        scores.mean_std,
        "samples",
        reference.mean_std,
        lambda s, c: 0.5,
        stream=scores.mean_std_stream,
    ),
    Score(
        "vote_entropy",
        scores.vote_entropy,
        "samples",
        reference.vote_entropy,
        _log_distinct,
        stream=scores.vote_entropy_stream,
        counts_votes=True,
    ),
    Score(
        "variation_ratio",
        scores.variation_ratio,
        "samples",
        reference.variation_ratio,
        lambda s, c: 1 - 1 / min(s, c),
        stream=scores.variation_ratio_stream,
        counts_votes=True,
    ),
    Score(
        "log_mean_prob",
        scores.log_mean_prob,
        "samples",
        reference.log_mean_prob,
        lambda s, c: 0,
        stream=scores.log_mean_prob_stream,
        is_per_class=True,
    ),
]
