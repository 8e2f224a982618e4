"""Strategies by name: what is taken, and which settings there are."""

import jax.numpy as jnp
import pytest

from jaxal import by_score, register, strategy
from jaxal.strategies import badge

TIMID = by_score(lambda logits: -jnp.max(logits, axis=-1))


def another(*, strength=1.0):
    del strength
    return TIMID


def _anything(**settings):
    del settings
    return TIMID


def test_a_built_in_name_is_never_replaced():
    for usurper in (TIMID, another):
        with pytest.raises(ValueError, match="called 'badge' exists"):
            register("badge", usurper)
    register("badge", badge)  # the same again is no harm
    assert sorted(strategy("badge").needs) == ["features", "logits"]


def test_a_strategy_of_ones_own_may_be_replaced_by_its_next_version():
    register("timid_in_a_notebook", TIMID)
    better = by_score(lambda logits: -jnp.min(logits, axis=-1))
    register("timid_in_a_notebook", better)
    assert strategy("timid_in_a_notebook").step is better.step
    register("made_by_a_factory", another)
    with pytest.raises(ValueError, match="exists"):
        register("made_by_a_factory", TIMID)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("badge", {"frist": "drawn"}, "no setting 'frist'. Did you mean 'first'"),
        ("margin", {"temperature": 2}, "no setting 'temperature'. It takes none"),
        ("fixed_one", {"first": 2}, "no setting 'first'. It takes none"),
    ],
)
def test_settings_are_those_of_the_factory(name, settings, message):
    register("fixed_one", TIMID)
    with pytest.raises(ValueError, match=message):
        strategy(name, **settings)


def test_a_factory_may_take_anything():
    register("takes_anything", _anything)
    assert strategy("takes_anything", colour="red").step is TIMID.step
