"""A network of one dense layer is solved by default, and only where it is one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from jaxal import Model, Output, logistic_head, make_pool, pool_mesh, supervised
from jaxal.models import from_linen, from_nnx, logistic_regression, mlp
from jaxal.training.heads.single_layer import is_single_layer
from tests.thinned import thinned
from tests.toys import blobs

KEY, ONE = jax.random.key(0), pool_mesh(jax.devices()[:1])
INPUTS, LABELS = blobs(60, 3, seed=2)
ROW = jnp.asarray(INPUTS[:1])


def pool(unlabelled=30):
    labels = np.where(np.arange(60) < 60 - unlabelled, LABELS, -1)
    return make_pool(50 + INPUTS, labels, mesh=ONE)


def fitted(model, **settings):
    learner, rows = supervised(model, capacity=40, **settings), pool()
    start = learner.init(KEY, rows.inputs)
    return (start, *jax.jit(learner.fit)(KEY, start, rows))


class Scaled(nn.Module):
    """Features are right, and logits are not what the layer says."""

    @nn.compact
    def __call__(self, x):
        return Output(10 * nn.Dense(3)(x), x)


class Bent(nn.Module):
    """Features are of the right shape and are not what the layer sees."""

    @nn.compact
    def __call__(self, x):
        return Output(nn.Dense(3)(jnp.tanh(x)), x)


class Dense(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)


def plain():
    def init(key, x):
        weights = 0.1 * jax.random.normal(key, (x.shape[1], 3))
        return {"params": [weights, jnp.zeros(3)]}

    def apply(variables, x, *, key=None, train=False):
        kernel, bias = variables["params"]
        return Output(x @ kernel + bias[None], x), variables

    return Model(init, apply)


LAYERS = {
    "zoo": lambda: logistic_regression(3),
    "linen": lambda: from_linen(Dense()),
    "nnx": lambda: from_nnx(nnx.Linear(2, 3, rngs=nnx.Rngs(0))),
    "plain": plain,
}


@pytest.mark.parametrize("name", thinned(LAYERS, 2))
def test_a_single_layer_says_what_the_solved_head_says(name):
    model = LAYERS[name]()
    assert is_single_layer(model, model.init(KEY, ROW), ROW)
    _, state, info = fitted(model)
    head, rows = logistic_head(3, capacity=40), pool()
    known, _ = head.learner.fit(KEY, head.learner.init(KEY, rows.inputs), rows)
    got = model.apply(state, rows.inputs)[0].logits
    want = head.model.apply(known, rows.inputs)[0].logits
    np.testing.assert_allclose(
        jax.nn.log_softmax(got), jax.nn.log_softmax(want), atol=2e-2
    )
    assert bool(info.is_sound)
    assert int(info.num_labelled) == 30


@pytest.mark.parametrize(
    "model", [from_linen(Scaled()), from_linen(Bent()), mlp(3), logistic_regression(1)]
)
def test_what_only_looks_like_one_is_trained(model):
    assert not is_single_layer(model, model.init(KEY, ROW), ROW)


@pytest.mark.parametrize("settings", [{"epochs": 2}, {"min_steps": 2}])
def test_who_asks_for_steps_gets_them(settings):
    _, _, info = fitted(logistic_regression(3), **settings)
    assert int(info.num_steps) == (2 if "epochs" in settings else 30)


@pytest.mark.slow
def test_bootstrap_members_are_solved_on_rows_of_their_own():
    start, state, _ = fitted(logistic_regression(3), members=3, bootstrap=True)
    kernels = np.asarray(state["params"]["head"]["kernel"])
    assert kernels.shape == np.asarray(start["params"]["head"]["kernel"]).shape
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


def test_without_labels_the_layer_is_what_was_given():
    learner, rows = supervised(logistic_regression(3)), pool(unlabelled=60)
    start = learner.init(KEY, rows.inputs)
    state, info = learner.fit(KEY, start, rows)
    jax.tree.map(np.testing.assert_array_equal, state["params"], start["params"])
    assert int(info.num_steps) == 0


@pytest.mark.slow
def test_pieces_and_seeds_are_the_same_fit():
    learner, rows = supervised(logistic_regression(3), capacity=40), pool()
    keys = jax.random.split(KEY, 2)
    starts = jax.vmap(lambda key: learner.init(key, rows.inputs))(keys)
    states, _ = jax.vmap(learner.fit, (0, 0, None))(keys, starts, rows)
    first = jax.tree.map(lambda x: x[1], starts)
    begun = learner.start(keys[1], first, rows)
    piecewise, _ = learner.finish(learner.advance(begun, rows, 5), rows)
    for got, want in zip(
        jax.tree.leaves(states["params"]),
        jax.tree.leaves(piecewise["params"]),
        strict=True,
    ):
        np.testing.assert_allclose(got[1], want, atol=1e-3)
