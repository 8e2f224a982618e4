"""Stopping rules, against scikit-learn's kappa and by hand."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from jaxal.stopping import (
    Progress,
    all_of,
    any_of,
    cohen_kappa,
    max_labels,
    max_seconds,
    name_of,
    plateau,
    rule_of,
    stabilizing_predictions,
    stopped_by,
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


HISTORY = [
    Progress(10 * i, accuracy=a, seconds=i) for i, a in enumerate([0.5, 0.7, 0.7])
]


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (any_of(max_labels(50), plateau(1)), "plateau(1, 0.0)"),
        (all_of(max_labels(20), plateau(1)), "all_of(max_labels(20), plateau(1, 0.0))"),
        (all_of(max_labels(30), plateau(1)), None),
        (any_of(all_of(max_seconds(2), max_labels(20))), "all_of(max_seconds(2), "),
        (lambda history: len(history) == 3, "<lambda>"),
    ],
)
def test_what_stops_is_named(rule, name):
    found = stopped_by(rule, HISTORY)
    assert found is None if name is None else found.startswith(name)


@pytest.mark.parametrize(
    "text",
    ["plateau", "plateau(patience=2)", "any_of(max_labels(budget=5), plateau)"],
)
def test_a_rule_is_what_its_text_says(text):
    made = {"plateau": plateau(), "plateau(patience=2)": plateau(2)}
    want = made.get(text, any_of(max_labels(5), plateau()))
    assert name_of(rule_of(text)) == name_of(want)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plato", "There is no rule 'plato', expected one of plateau"),
        ("plateau(patient=2)", "unexpected keyword argument 'patient'"),
        ("any_of", "any_of has no rule, expected at least one"),
        ("target_accuracy(target=90)", "expected an accuracy of 0 to 1"),
    ],
)
def test_texts_that_are_no_rule_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        rule_of(text)
