"""Every registered strategy keeps the laws."""

import jax
import pytest

from jaxal import strategy, strategy_names
from jaxal.registry import entry
from jaxal.testing import LAWS, check_strategy

NAMES = strategy_names()

OPTION = "jax_disable_most_optimizations"


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Programs that run once on forty rows are not worth optimizing."""
    before = jax.config.values[OPTION]
    jax.config.update(OPTION, True)
    yield
    jax.config.update(OPTION, before)


@pytest.mark.parametrize("name", NAMES)
def test_laws_hold(name):
    case = entry(name)
    report = check_strategy(
        strategy(name, **case.small),
        is_deterministic=case.is_deterministic,
        most_classes=case.most_classes,
    )
    assert report.strategy == name
    assert {*report.checked, *report.skipped} == set(LAWS)
    assert ("key" in report.checked) == case.is_deterministic
    assert ("devices" in report.checked) == (jax.device_count() > 1)
