"""Which strategies are for a regression: the others refuse one, in words that help."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    View,
    active_learner,
    array_oracle,
    bald,
    by_score,
    class_balanced,
    entropy,
    gaussian_likelihood,
    least_squares,
    mixture,
    regression_pool,
    schedule,
    strategy,
    strategy_names,
    supervised,
)
from jaxal.app.listing import main
from jaxal.checks import FOR_REGRESSION
from jaxal.models import mlp
from jaxal.registry import entry
from tests.thinned import thinned

KEY = jax.random.key(0)
FEATURES = jax.random.normal(KEY, (40, 5))
FREE = jnp.arange(40) >= 8
FIELDS = {
    "logits": FEATURES[:, :1],
    "predictive": FEATURES[:, :1],
    "samples": jax.random.normal(jax.random.key(1), (5, 40, 1)),
    "features": FEATURES,
    "labels": jnp.where(FREE, -1, 0),
    "inputs": FEATURES,
}


def a_view(made):
    seen = {name: FIELDS[name] for name in made.needs | made.streams}
    return View(FREE, ~FREE, **seen)


@pytest.mark.parametrize("name", thinned(strategy_names(), 18))
def test_one_output_is_chosen_by_or_refused(name):
    made = strategy(name, **entry(name).small)
    if made.reads_classes:
        with pytest.raises(ValueError, match="no classes to doubt.*bait_regression"):
            made.select(KEY, a_view(made), 3)
        return
    assert not {"logits", "samples", "predictive", "labels"} & (
        made.needs | made.streams
    )
    picks = made.select(KEY, a_view(made), 3)
    assert picks.is_valid.all()


@pytest.mark.parametrize("task", [least_squares, gaussian_likelihood])
@pytest.mark.parametrize(
    "made",
    [
        strategy("entropy"),
        strategy("badge"),
        strategy("dcom"),
        strategy("stochastic(margin)"),
        by_score(entropy),
        by_score(bald, "samples"),
        class_balanced(strategy("coreset")),
        mixture([strategy("coreset"), strategy("margin")], [1, 1]),
        schedule([strategy("coreset"), strategy("galaxy")], [9]),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_a_loop_refuses_classes_of_a_regression_before_it_trains(task, made):
    model = mlp(1 if task is least_squares else 2, hidden=(4,), dropout=0.5)
    learner = supervised(model, epochs=1, task=task)
    loop = active_learner(model, learner, made, batch_size=2)
    with pytest.raises(ValueError, match="labels are real numbers.*'features'"):
        loop.init(KEY, regression_pool(FEATURES, FEATURES[:, 0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "expression",
    re.findall(r"[a-z_]+\(of='features'\)|bait_regression|coreset", FOR_REGRESSION),
)
def test_strategies_that_are_named_instead_work(expression):
    model = mlp(2, hidden=(4,))
    learner = supervised(model, epochs=1, task=gaussian_likelihood)
    loop = active_learner(
        model, learner, strategy(expression), array_oracle(FEATURES[:, 0]), batch_size=2
    )
    state = loop.init(KEY, regression_pool(FEATURES), initial=4)
    state, _ = loop.step(KEY, state)
    assert int(state.pool.is_labelled.sum()) == 6


def test_a_sigmoid_s_column_becomes_two():
    z = np.linspace(-3, 3, 7, dtype=np.float32)[:, None]
    p = 1 / (1 + np.exp(-z[:, 0].astype(float)))
    expected = -p * np.log(p) - (1 - p) * np.log1p(-p)
    with pytest.raises(ValueError, match=r"two columns \[0, z\]"):
        entropy(z)
    found = entropy(np.concatenate([0 * z, z], axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_list_says_which_are_for_regression(capsys):
    main([])
    lines = capsys.readouterr().out.splitlines()
    said = {line.split()[0] for line in lines if "regression too]" in line}
    assert said == {n for n in strategy_names() if not strategy(n).reads_classes}
    assert {"coreset", "bait_regression"} <= said
    assert not {"entropy", "badge"} & said
