"""Comparisons against SciPy, by brute force and by hand."""

import numpy as np
import pytest
from scipy import stats

from jaxal import (
    area_under_curve,
    bootstrap_interval,
    holm,
    label_savings,
    labels_to_target,
    savings_interval,
    seeds_needed,
    standing,
    wilcoxon_p,
)

RNG = np.random.default_rng(0)
LABELS = np.array([10, 20, 40, 80])
RISE = np.array([0.1, 0.3, 0.4, 0.5])


def curves(gain=0.0, seeds=12, noise=0.02, seed=0):
    rng = np.random.default_rng(seed)
    return RISE + gain + rng.normal(scale=noise, size=(seeds, 4))


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


def test_savings_are_those_of_the_mean_curves():
    base, mine = curves(), curves(0.05, seed=1)
    target = base.mean(0)[-1]
    needed = [labels_to_target(LABELS, c.mean(0), target) for c in (mine, base)]
    found = savings_interval(LABELS, mine, base)
    assert found.mean == pytest.approx(label_savings(*needed))
    assert 0 < found.low < found.mean < found.high < 1


def test_savings_by_drawing_seeds_one_by_one():
    base, mine = curves(seeds=6), curves(0.03, seeds=6, seed=3)
    draws = np.random.default_rng(0).integers(6, size=(400, 6))
    brute = []
    for draw in draws:
        ours, theirs = mine[draw].mean(0), base[draw].mean(0)
        labels = [labels_to_target(LABELS, c, theirs[-1]) for c in (ours, theirs)]
        saved = label_savings(*labels)
        brute.append(-np.inf if saved is None else saved)
    found = savings_interval(LABELS, mine, base, num_resamples=400)
    ordered = np.sort(brute)
    assert found.low == ordered[9] and found.high == pytest.approx(ordered[390])


def test_nothing_is_said_to_be_saved_where_nothing_is():
    covered = 0
    for seed in range(40):
        base, mine = curves(seed=seed), curves(seed=1000 + seed)
        found = savings_interval(LABELS, mine, base, num_resamples=300)
        covered += found.low <= 0 <= found.high
    assert covered >= 32  # of 40; a percentile bootstrap of 12 is a little narrow


def test_a_target_that_is_not_reached():
    base = curves()
    worse = savings_interval(LABELS, base - 0.2, base)
    assert worse.mean == worse.low == -np.inf
    neither = savings_interval(LABELS, base, base, target=2.0)
    assert np.isnan(neither.mean)
    mine_alone = savings_interval(LABELS, base + 0.3, base, target=0.7)
    assert 0 < mine_alone.mean < 1  # at least: the baseline needs more than all
    with pytest.raises(ValueError, match="of the same seeds"):
        savings_interval(LABELS, base[:3], base)


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


def test_standing_counts_rejections_for_the_higher_mean():
    base = curves(noise=0.01)
    better = base + np.array([0.0, 0.1, 0.1, 0.0]) + curves(seed=2, noise=1e-3) - RISE
    better[:, 3] = base[:, 3]
    found = standing({"base": base, "better": better})
    assert found.num_compared == 3  # the initial set is nobody's merit
    np.testing.assert_allclose(found.penalties, [[0, 2 / 3], [0, 0]])
    assert found.wins.tolist() == [0, 2] and found.losses.tolist() == [2, 0]
    with pytest.raises(ValueError, match="expected one shape"):
        standing({"a": base, "b": base[:2]})


def test_area_over_doublings_weighs_each_the_same():
    # Heights 0, 1 and 1 at 10, 20, 40: (0.5 + 1) / 2 over two doublings.
    assert area_under_curve([10, 20, 40], [0, 1, 1], log=True) == pytest.approx(0.75)
