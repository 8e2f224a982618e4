"""Labels and money to a target, and savings: by hand, by brute force, where unknown."""

import numpy as np
import pytest

from jaxal import label_savings, labels_to_target, savings_interval, target_interval

LABELS = np.array([10, 20, 40, 80])
RISE = np.array([0.1, 0.3, 0.4, 0.5])


def curves(gain=0.0, seeds=12, noise=0.02, seed=0):
    rng = np.random.default_rng(seed)
    return RISE + gain + rng.normal(scale=noise, size=(seeds, 4))


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


def by_hand(spent, curve, target):
    """The first crossing of straight lines, step by step."""
    if curve[0] >= target:
        return float(spent[0])
    for i in range(1, len(curve)):
        if curve[i] >= target:
            share = (target - curve[i - 1]) / (curve[i] - curve[i - 1])
            return spent[i - 1] + share * (spent[i] - spent[i - 1])
    return np.inf


@pytest.mark.parametrize("target", [0.05, 0.3, 0.38, 0.505, 0.9])
def test_what_a_target_takes_by_drawing_seeds_one_by_one(target):
    data, rng = curves(seeds=7, noise=0.05), np.random.default_rng(0)
    money = LABELS * 0.1 + np.cumsum(rng.uniform(1, 2, size=(7, 4)), axis=1)
    draws = np.random.default_rng(0).integers(7, size=(300, 7))
    brute = np.sort([by_hand(money[d].mean(0), data[d].mean(0), target) for d in draws])
    found = target_interval(money, data, target, num_resamples=300)
    assert found.mean == pytest.approx(by_hand(money.mean(0), data.mean(0), target))
    outside = 0.025 * 299
    ends = brute[int(outside)], brute[int(np.ceil(299 - outside))]
    np.testing.assert_allclose(found[1:], ends)


def test_what_is_not_reached_is_censored_not_made_up():
    data = curves(noise=0.05)
    nearly = target_interval(LABELS, data, data.mean(0)[-1])
    assert nearly.mean == pytest.approx(80) and nearly.high == np.inf
    assert nearly.low < 80
    assert target_interval(LABELS, data[:1], 0.3).high is not None
    assert np.isnan(target_interval(LABELS, data[:1], 0.3)[1:]).all()
    with pytest.raises(ValueError, match=r"spent has shape \[3\]"):
        target_interval(LABELS[:3], data, 0.3)


def test_where_lower_is_better_both_are_negated():
    loss = 1 - curves()
    found = target_interval(LABELS, -loss, -0.65)
    assert found.mean == pytest.approx(target_interval(LABELS, 1 - loss, 0.35).mean)
