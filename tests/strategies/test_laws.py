"""Every registered strategy keeps the laws."""

import jax
import pytest

from jaxal import strategy_names
from jaxal.registry import entry
from jaxal.testing import LAWS, check_strategy

OPTION = "jax_disable_most_optimizations"


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Programs that run once on forty rows are not worth optimizing."""
    before = jax.config.values[OPTION]
    jax.config.update(OPTION, True)
    yield
    jax.config.update(OPTION, before)


# 64 bits compile everything anew: with these here, with all where time is no matter.
IN_64_BITS = ("badge", "entropy")


@pytest.mark.slow
@pytest.mark.parametrize("name", strategy_names())
def test_laws_hold_in_64_bits(name):
    others = tuple(law for law in LAWS if law != "x64")
    assert "x64" in check_strategy(name, seeds=(0,), leave_out=others).checked


# A quarter of a minute each and more, of parts that others here hold to the laws too.
HEAVY = (
    *("albl", "alfa_mix", "badge_partitioned", "bait", "bait_top", "batch_bald"),
    *("bait_binary", "bait_regression", "galaxy"),
    *("cdal", "clue", "cluster_margin", "coreset", "dbal", "dcom", "drop_query"),
    *("active_ft", "epig", "expected_error_reduction", "frank_wolfe", "graph_cut"),
    *("lcmd", "vessal"),
    *("facility_location", "k_means", "log_determinant", "max_det", "max_herding"),
    *("prob_cover", "select_al", "similar", "tcm", "typiclust", "uherding"),
    "uncertain_coreset",
)
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else [])
    for name in strategy_names()
]


@pytest.mark.parametrize("name", NAMES)
def test_laws_hold(name):
    leave_out = () if name in IN_64_BITS else ("x64",)
    report = check_strategy(name, seeds=(0,), leave_out=leave_out)
    assert report.strategy == name
    assert {*report.checked, *report.skipped} == set(LAWS)
    assert ("key" in report.checked) == entry(name).is_deterministic
    assert ("devices" in report.checked) == (jax.device_count() > 1)
    assert ("ties" in report.checked) == ("ties" not in entry(name).exempt)


COMBINED = (
    pytest.param("mixture(coreset, albl)", marks=pytest.mark.slow),
    pytest.param("schedule(badge, margin, boundaries=[12])", marks=pytest.mark.slow),
    pytest.param("warm_up(albl, labels=12)", marks=pytest.mark.slow),
    pytest.param("class_balanced(badge)", marks=pytest.mark.slow),
    "class_balanced(margin)",
    pytest.param("schedule(bald, margin, boundaries=[12])", marks=pytest.mark.slow),
    pytest.param("partition(margin, parts=4)", marks=pytest.mark.slow),
    "subsample(margin, size=14)",
)


@pytest.mark.parametrize("expression", COMBINED)
def test_laws_hold_of_combinations(expression):
    report = check_strategy(expression, seeds=(0,), leave_out=("x64",))
    assert "memory" in report.checked
