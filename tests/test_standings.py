"""Who beats whom, against SciPy and a loop."""

import numpy as np
import pytest
from scipy import stats

from jaxal import holm, pairwise_tests, standing, total_standing

RISE = np.array([0.1, 0.3, 0.4, 0.5])


def curves(gain=0.0, seeds=8, noise=0.02, seed=0):
    return RISE + gain + np.random.default_rng(seed).normal(0, noise, (seeds, 4))


FIELD = {"a": curves(), "b": curves(0.02, seed=1), "c": curves(-0.05, seed=2)}


def test_standing_counts_rejections_for_the_higher_mean():
    base = curves(noise=0.01)
    better = base + np.array([0.0, 0.1, 0.1, 0.0]) + curves(seed=2, noise=1e-3) - RISE
    better[:, 3] = base[:, 3]
    found = standing({"base": base, "better": better})
    assert found.num_compared == 3  # the initial set is nobody's merit
    np.testing.assert_allclose(found.penalties, [[0, 0], [2 / 3, 0]])
    assert found.wins.tolist() == [0, 2] and found.losses.tolist() == [2, 0]
    assert found.ties.tolist() == [1, 1]
    with pytest.raises(ValueError, match="expected one shape"):
        standing({"a": base, "b": base[:2]})


def test_the_penalty_matrix_by_scipys_tests_one_by_one():
    found = standing(FIELD)
    for i, mine in enumerate(FIELD.values()):
        for j, other in enumerate(FIELD.values()):
            wins = 0
            for b in (1, 2, 3) if i != j else ():
                test = stats.ttest_rel(mine[:, b], other[:, b])
                wins += test.statistic > 0 and test.pvalue < 0.05
            assert found.penalties[i, j] == pytest.approx(wins / 3)
    assert found.penalties[0, 2] > 0
    whole = found.wins + found.ties + found.losses
    assert (whole == 2 * found.num_compared).all()


def test_seeds_that_one_side_lacks_leave_the_pairs_of_others():
    fewer = FIELD["b"].copy()
    fewer[[2, 5]] = np.nan
    kept = [0, 1, 3, 4, 6, 7]
    found = standing(FIELD | {"b": fewer})
    alone = standing({name: c[kept] for name, c in FIELD.items()})
    np.testing.assert_array_equal(found.penalties[1], alone.penalties[1])
    np.testing.assert_array_equal(
        found.penalties[0, 2], standing(FIELD).penalties[0, 2]
    )


def test_standings_on_several_data_sets_add_up():
    one = standing(FIELD)
    other = standing({name: FIELD[name][:, :3] for name in ("c", "b")})
    found = total_standing([one, other])
    assert found.names == ("b", "c") and found.num_compared == 5
    rows = np.ix_([1, 2], [1, 2])
    expected = one.penalties[rows] + other.penalties[::-1, ::-1]
    np.testing.assert_allclose(found.penalties, expected)
    assert (found.wins + found.ties + found.losses == 5).all()
    with pytest.raises(ValueError, match="no strategy in common"):
        total_standing([one, standing({"d": FIELD["a"], "e": FIELD["b"]})])


@pytest.mark.parametrize("ranks", [False, True])
def test_pairs_by_scipy_corrected_together(ranks):
    values = {name: c.mean(1) for name, c in FIELD.items()}
    values["b"] = values["b"].copy()
    values["b"][3] = np.nan
    test = stats.wilcoxon if ranks else stats.ttest_rel
    names, raw, pairs = list(values), [], [(0, 1), (0, 2), (1, 2)]
    for i, j in pairs:
        x, y = values[names[i]], values[names[j]]
        both = ~np.isnan(x) & ~np.isnan(y)
        raw.append(test(x[both], y[both]).pvalue)
    found = pairwise_tests(values, ranks=ranks)
    for (i, j), p in zip(pairs, holm(raw), strict=True):
        assert found.p_values[i, j] == found.p_values[j, i] == pytest.approx(p)
        assert found.differences[i, j] == -found.differences[j, i]
    assert np.isnan(np.diag(found.p_values)).all()
    assert found.differences[0, 2] == pytest.approx((values["a"] - values["c"]).mean())


def test_a_single_seed_is_tested_with_nobody():
    found = pairwise_tests({"a": [1.0, 2.0], "b": [1.5, np.nan], "c": [0.0, 0.5]})
    assert np.isnan(found.p_values[0, 1]) and found.differences[0, 1] == -0.5
    assert found.p_values[0, 2] < 1  # and is corrected for one test only
