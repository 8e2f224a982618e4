"""Every registered strategy keeps the laws."""

import subprocess
import sys

import jax
import pytest

from jaxal import strategy
from jaxal.testing import LAWS, check_strategy
from tests.cases_strategies import STRATEGIES

OPTION = "jax_disable_most_optimizations"


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Programs that run once on forty rows are not worth optimizing."""
    before = jax.config.values[OPTION]
    jax.config.update(OPTION, True)
    yield
    jax.config.update(OPTION, before)


@pytest.mark.parametrize("case", STRATEGIES, ids=str)
def test_laws_hold(case):
    report = check_strategy(
        strategy(case.name, **case.settings),
        is_deterministic=case.is_deterministic,
        has_ties=case.has_ties,
        most_classes=case.most_classes,
    )
    assert report.strategy == case.name
    assert {*report.checked, *report.skipped} == set(LAWS)
    assert ("key" in report.checked) == case.is_deterministic
    assert ("devices" in report.checked) == (jax.device_count() > 1)


def test_every_registered_strategy_is_in_the_table():
    # In a process of its own: other tests and examples register theirs.
    code = "import jaxal; print(*jaxal.strategy_names())"
    found = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert sorted(case.name for case in STRATEGIES) == found.split()
