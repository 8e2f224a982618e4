"""Statistics against SciPy and by hand."""

import numpy as np
import pytest
from scipy import stats

from jaxal.statistics import (
    area_under_curve,
    label_savings,
    labels_to_target,
    mean_interval,
    paired_difference,
)


def test_interval_equals_scipy():
    values = np.random.default_rng(0).normal(size=12)
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    np.testing.assert_allclose(found, [values.mean(), low, high])


def test_one_run_has_no_interval():
    found = mean_interval([0.7])
    assert found.mean == 0.7
    assert np.isnan([found.low, found.high]).all()


def test_paired_test_equals_scipy_and_sees_what_an_unpaired_one_does_not():
    rng = np.random.default_rng(1)
    baseline = rng.normal(size=20)  # seeds differ far more than strategies do
    treatment = baseline + 0.1 + rng.normal(scale=0.05, size=20)
    found = paired_difference(treatment, baseline)
    expected = stats.ttest_rel(treatment, baseline)
    np.testing.assert_allclose([found.t, found.p_value], expected)
    assert found.p_value < 1e-3 < stats.ttest_ind(treatment, baseline).pvalue


def test_paired_test_without_spread():
    assert paired_difference([2.0, 2.0], [1.0, 1.0]).p_value == 0
    assert paired_difference([1.0, 1.0], [1.0, 1.0]).p_value == 1
    assert np.isnan(paired_difference([1.0], [0.0]).p_value)


def test_unequal_numbers_of_seeds_are_refused():
    with pytest.raises(ValueError, match="pair them by seed"):
        paired_difference([1.0, 2.0], [1.0])


def test_area_by_hand():
    assert area_under_curve([0, 10, 30], [0.0, 1.0, 1.0]) == pytest.approx(25 / 30)
    assert area_under_curve([10], [0.4]) == 0.4


def test_labels_to_target_first_crossing():
    labels, accuracy = [100, 200, 300, 400], [0.2, 0.6, 0.5, 0.9]
    assert labels_to_target(labels, accuracy, 0.6) == 200
    assert labels_to_target(labels, accuracy, 0.4) == pytest.approx(150)
    assert labels_to_target(labels, accuracy, 0.1) == 100
    assert labels_to_target(labels, accuracy, 0.95) is None
    with pytest.raises(ValueError, match="increase"):
        labels_to_target([2, 1], [0.1, 0.2], 0.1)


def test_savings_of_a_target_nobody_reached_are_unknown():
    assert label_savings(None, 400.0) is None
    assert label_savings(100.0, None) is None
    assert label_savings(100.0, 400.0) == 0.75
