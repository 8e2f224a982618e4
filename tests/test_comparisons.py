"""Comparisons against SciPy, by brute force and by hand."""

import numpy as np
import pytest
from scipy import stats

from jaxal import bootstrap_interval, holm, seeds_needed, wilcoxon_p

RNG = np.random.default_rng(0)


def test_bootstrap_equals_scipy():
    values = RNG.normal(size=15)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, random_state=1
    ).confidence_interval
    found = bootstrap_interval(values, num_resamples=20_000)
    np.testing.assert_allclose(found[1:], expected, atol=0.02)
    assert found.mean == pytest.approx(values.mean())
    assert np.isnan(bootstrap_interval([1.0])[1:]).all()
    with pytest.raises(ValueError, match=r"expected \[n\]"):
        bootstrap_interval([])


@pytest.mark.parametrize("size", [5, 12, 60])
def test_wilcoxon_equals_scipy(size):
    a, b = RNG.normal(size=(2, size))
    assert wilcoxon_p(a, b) == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert wilcoxon_p(a, a) == 1


def test_holm_by_hand_and_whatever_the_order():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, then 0.04, which is not below the one before.
    np.testing.assert_allclose(holm(p), [0.03, 0.06, 0.06, 0.02])
    order = RNG.permutation(4)
    np.testing.assert_allclose(holm(p[order]), holm(p)[order])
    assert np.isnan(holm([0.2, np.nan])[1]) and holm([0.2, np.nan])[0] == 0.2
    assert holm([0.9, 0.8]).max() == 1 and holm([]).size == 0


def test_holm_keeps_the_level():
    rejected = [
        (holm(np.random.default_rng(i).uniform(size=8)) < 0.05).any()
        for i in range(2000)
    ]
    assert 0.03 < np.mean(rejected) < 0.065


@pytest.mark.parametrize("effect", [0.5, 1.0, 2.0])
def test_as_many_seeds_as_the_power_says(effect):
    data = RNG.normal(size=30)
    count, spread = seeds_needed(data, effect), data.std(ddof=1)
    draws = np.random.default_rng(1).normal(effect, spread, size=(4000, count))
    seen = stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert 0.77 < seen.mean() < 0.9
    fewer = stats.ttest_1samp(draws[:, :-1], 0, axis=1).pvalue < 0.05
    assert fewer.mean() < 0.83
    with pytest.raises(ValueError, match="expected 2, and not 0"):
        seeds_needed(data, 0.0)
    assert seeds_needed([1.0, 1.0], 1.0) == 2
