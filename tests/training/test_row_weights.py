"""Rows of a pool that count more than others, in fits of any task."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import forget, make_pool, regression_pool, supervised
from jaxal.models import logistic_regression, mlp
from jaxal.training.multi_label import multi_label
from jaxal.training.optimizers import constant, sgd
from jaxal.training.regression import gaussian_likelihood
from tests.toys import blobs

INPUTS, LABELS = blobs(30, 3)
KEPT = np.arange(30) % 3 > 0
LABELS = np.where(KEPT, LABELS, (LABELS + 1) % 3)  # the others are wrong
TARGETS = np.where(KEPT, INPUTS[:, 0] * 2 - INPUTS[:, 1], 0).astype(np.float32)

CASES = {
    "solved": (logistic_regression(3), {}),
    "network": (mlp(3, hidden=(8,)), {"batch_size": 32}),
    "members": (mlp(3, hidden=(8,)), {"batch_size": 32, "members": 2}),
    "multi_label": (mlp(3, hidden=(8,)), {"batch_size": 32, "task": multi_label}),
    "regression": (
        mlp(2, hidden=(8,)),
        {"batch_size": 32, "task": gaussian_likelihood},
    ),
}


def outputs(model, pool, **settings):
    learner = supervised(model, **settings)
    state = learner.init(jax.random.key(0), INPUTS)
    state, info = jax.jit(learner.fit)(jax.random.key(1), state, pool)
    assert bool(jnp.all(info.is_sound))
    if settings.get("members"):
        return jax.vmap(lambda v: model.apply(v, INPUTS)[0].logits)(state)
    return model.apply(state, INPUTS)[0].logits


@pytest.mark.parametrize("name", CASES)
def test_rows_of_weight_0_are_as_if_nobody_had_labelled_them(name):
    model, settings = CASES[name]
    is_real = name == "regression"
    pool = regression_pool(INPUTS, TARGETS) if is_real else make_pool(INPUTS, LABELS)
    weights = (1 if name == "solved" else 7) * KEPT  # of others ratios count
    found = outputs(model, pool, **settings, row_weights=weights)
    fewer = forget(pool, np.flatnonzero(~KEPT))
    known = outputs(model, fewer, **settings)
    scale = float(jnp.abs(known).max())
    near = 0.2 if is_real else 0.02  # targets are in units of all that are labelled
    np.testing.assert_allclose(found, known, atol=near * scale)
    other = outputs(model, pool, **settings)
    assert float(jnp.abs(other - known).max()) > 2 * near * scale


def test_they_are_the_weights_of_a_gradient_step():
    model = mlp(3, hidden=(8,))
    weights = np.random.default_rng(0).uniform(0, 3, 30).astype(np.float32)
    pool = make_pool(INPUTS, np.where(KEPT, LABELS, -1))
    rule = sgd(constant(0.5), momentum=0.0, weight_decay=0.0)
    settings = {"epochs": 1, "batch_size": 32, "row_weights": weights}
    learner = supervised(model, rule, **settings)
    begin = learner.start(
        jax.random.key(1), learner.init(jax.random.key(0), INPUTS), pool
    )
    state, info = learner.fit(
        jax.random.key(1), learner.init(jax.random.key(0), INPUTS), pool
    )

    def loss(params):
        logits = model.apply({**begin.variables, "params": params}, INPUTS)[0].logits
        logs = jax.nn.log_softmax(logits)[np.arange(30), LABELS]
        return -(weights * KEPT * logs).sum() / (weights * KEPT).sum()

    params = begin.variables["params"]
    wanted = jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params))
    for got, want in zip(
        jax.tree.leaves(state["params"]), jax.tree.leaves(wanted), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(info.loss, loss(params), rtol=1e-5)


def test_rows_that_came_later_count_once():
    pool = make_pool(INPUTS, LABELS)
    short = outputs(*CASES["solved"][:1], pool, row_weights=np.ones(10))
    np.testing.assert_allclose(short, outputs(*CASES["solved"][:1], pool), atol=1e-4)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [np.nan], [[1.0]], [np.inf]])
def test_odd_ones_are_refused(weights):
    with pytest.raises(ValueError, match="row_weights"):
        supervised(mlp(3), row_weights=weights)
