"""Statistics against SciPy and by hand."""

import numpy as np
import pytest
from scipy import stats

from jaxal import (
    area_under_curve,
    mean_interval,
    median_bands,
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


def test_area_over_doublings_weighs_each_the_same():
    # Heights 0, 1 and 1 at 10, 20, 40: (0.5 + 1) / 2 over two doublings.
    assert area_under_curve([10, 20, 40], [0, 1, 1], log=True) == pytest.approx(0.75)


def test_no_labels_have_no_logarithm():
    assert area_under_curve([0, 10], [0.0, 1.0]) == 0.5
    with pytest.raises(ValueError, match="begins with 0, which has no logarithm"):
        area_under_curve([0, 10], [0.0, 1.0], log=True)


def test_bands_are_those_that_shares_of_runs_lie_in():
    values = np.random.default_rng(2).normal(size=(2001, 3))
    bands = median_bands(values)
    np.testing.assert_allclose(bands.median, np.sort(values, axis=0)[1000])
    for share, low, high in zip((0.68, 0.95), bands.low, bands.high, strict=True):
        inside = ((values >= low) & (values <= high)).mean(0)
        np.testing.assert_allclose(inside, share, atol=1e-3)
    np.testing.assert_allclose(  # of a normal they are one and two standard deviations
        [bands.low, bands.high], [[[-1] * 3, [-2] * 3], [[1] * 3, [2] * 3]], atol=0.15
    )
    one = median_bands([[0.5, 0.7]])
    assert one.low.tolist() == [[0.5, 0.7]] * 2
    with pytest.raises(ValueError, match="expected numbers between 0 and 1"):
        median_bands([1.0, 2.0], shares=(68,))
    with pytest.raises(ValueError, match=r"expected \[n"):
        median_bands([])
