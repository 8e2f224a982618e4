"""Stopping rules, against scikit-learn's kappa and by hand."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from jaxal.stopping import (
    Progress,
    cohen_kappa,
    max_labels,
    plateau,
    stabilizing_predictions,
    target_accuracy,
)


def test_kappa_equals_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(10):
        a, b = rng.integers(0, 4, (2, 50))
        np.testing.assert_allclose(cohen_kappa(a, b), cohen_kappa_score(a, b))


def test_nothing_stops_before_the_first_round():
    for rule in (max_labels(1), target_accuracy(0.0), plateau(0 + 1)):
        assert not rule([])


def test_a_target_in_percent_is_refused():
    with pytest.raises(ValueError, match="target is 90, expected an accuracy"):
        target_accuracy(90)


def test_plateau_starts_again_after_a_gain():
    curve = [0.5, 0.5, 0.5, 0.8]
    history = [Progress(i, accuracy=a) for i, a in enumerate(curve)]
    assert plateau(2)(history[:3])
    assert not plateau(2)(history)


def test_stabilizing_needs_agreement_and_predictions():
    rng = np.random.default_rng(1)
    noise = [Progress(i, predictions=rng.integers(0, 3, 100)) for i in range(5)]
    assert not stabilizing_predictions(0.9)(noise)
    with pytest.raises(ValueError, match="predictions of every round"):
        stabilizing_predictions()([Progress(i) for i in range(5)])
