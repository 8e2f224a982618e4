"""What follows from network, task and data, and what stops a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxal import (
    active_learner,
    array_oracle,
    gaussian_likelihood,
    labelled_rows,
    least_squares,
    make_pool,
    pool_mesh,
    regression_pool,
    strategy,
    supervised,
)
from jaxal.app.recipe import Recipe
from jaxal.app.settling import settle
from jaxal.models import from_nnx, gal_cnn, mlp, resnet18, self_scaling
from jaxal.training import optimizers, recipes, soundness, weights
from jaxal.training.optimizers import Optimizer, constant
from jaxal.training.targets import target_units
from tests.thinned import thinned
from tests.toys import blobs, linear

KEY = jax.random.key(0)
ONE = pool_mesh(jax.devices()[:1])


def nll_of(optimizer, epochs=20):
    inputs, labels = blobs(60, 2)
    pool = make_pool(inputs, labels, mesh=ONE)
    learner = supervised(linear(2), optimizer, epochs=epochs, batch_size=16)
    start = learner.init(KEY, pool.inputs)
    state, _ = jax.jit(learner.fit)(KEY, start, pool)
    rows = jnp.asarray(inputs), jnp.asarray(labels)
    return float(learner.evaluate(state, *rows).nll)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(0.05),
        optax.chain(optax.clip(1.0), optax.adamw(optax.cosine_decay_schedule(0.1, 80))),
        optax.MultiSteps(optax.sgd(0.5), every_k_schedule=2),
        optax.adam(optax.warmup_cosine_decay_schedule(0.0, 0.1, 20, 80)),
        optax.polyak_sgd(),  # asks for the loss
        optax.lbfgs(),  # searches along lines
    ],
    ids=["adam", "chain", "multi_steps", "warm_up", "polyak", "lbfgs"],
)
def test_optimisers_of_optax_are_taken_as_they_come(optimizer):
    assert nll_of(optimizer) < 0.3  # log 2 at the start


def test_optax_walks_where_optax_would():
    inputs, labels = blobs(30, 2)
    pool = make_pool(inputs, labels, mesh=ONE)
    rule = optax.adam(0.05)
    learner = supervised(
        linear(2), rule, epochs=9, batch_size=30, refit=weights.warm_start
    )
    start = learner.init(KEY, pool.inputs)
    found, _ = learner.fit(KEY, start, pool)

    def loss(params):
        logits = inputs @ params["w"] + params["b"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    params = start["params"]
    state = rule.init(params)
    for _ in range(9):
        updates, state = rule.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    for name in ("w", "b"):
        np.testing.assert_allclose(found["params"][name], params[name], atol=1e-5)


@pytest.mark.parametrize(
    "rule",
    [
        optax.adam(0.1),
        optax.sgd(0.1),
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 0.1, 20, 80)),
        optax.MultiSteps(optax.adam(0.1), 8),
    ],
)
def test_an_optimizer_that_would_climb_is_refused(rule):
    with pytest.raises(ValueError, match=r"climb.*as\s+it is"):
        supervised(linear(2), Optimizer(rule, constant(1.0)))
    with pytest.raises(ValueError, match="walks uphill"):
        supervised(linear(2), optax.scale_by_adam())
    with pytest.raises(TypeError, match="optimizer is int"):
        supervised(linear(2), 3)
    supervised(linear(2), Optimizer(optax.scale_by_adam(), constant(0.1)))


@pytest.mark.parametrize(
    "rule",
    [
        optax.lookahead(optax.sgd(0.1), 5, 0.5),
        optax.GradientTransformation(lambda p: (), lambda g, s: (g, s)),
    ],
)
def test_an_optimizer_that_wants_more_than_a_gradient_is_refused(rule):
    inputs, labels = blobs(30, 2)
    pool = make_pool(inputs, labels, mesh=ONE)
    learner = supervised(linear(2), rule)
    state = learner.init(KEY, pool.inputs)
    with pytest.raises(TypeError, match="does not walk as others do"):
        jax.jit(learner.fit)(KEY, state, pool)


def test_gradients_are_cut():
    rule = optimizers.sgd(constant(1.0), weight_decay=0.0, momentum=0.0, clip=2.0)
    params = {"w": jnp.zeros([2, 2])}
    grads = {"w": jnp.full([2, 2], 50.0)}
    updates, _ = rule.direction.update(grads, rule.direction.init(params), params)
    np.testing.assert_allclose(jnp.linalg.norm(updates["w"]), 2.0, rtol=1e-5)


def test_deeper_networks_take_smaller_steps():
    layers = [jnp.ones([2, 2]), jnp.ones(2)]
    rates = [recipes.learning_rate(layers * n) for n in (1, 2, 3, 30)]
    np.testing.assert_allclose(rates, [2e-2, 5e-3, 2e-2 / 9, 1e-3])
    decays = [recipes.weight_decay(layers * n) for n in (1, 2, 30)]
    assert decays == [0.01, 1.0, 1.0]


class Normalised(nnx.Module):
    def __init__(self, *, rngs):
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.head = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(self.norm(x))


def test_networks_that_normalise_by_batches_are_trained_by_sgd():
    images = jnp.zeros([1, 8, 8, 3])

    def usual(model, row=images):
        return recipes.usual(jax.eval_shape(model.init, KEY, row))

    assert usual(resnet18(3, width=2)) == recipes.WITH_STATISTICS
    assert (
        usual(from_nnx(lambda rngs: Normalised(rngs=rngs)), images[:, 0, 0])
        == recipes.WITH_STATISTICS
    )
    for model in (mlp(3), gal_cnn(3), self_scaling(mlp(3))):
        assert usual(model) == recipes.OTHERS
    rates = [recipes.rates("sgd", {}, size)[0] for size in (16, 32, 128)]
    assert rates == [0.05, 0.1, 0.1]


def test_the_command_line_trains_networks_as_python_does():
    rows = jax.ShapeDtypeStruct((900, 32, 32, 3), "float32")

    def trained(**given):
        found = settle(Recipe(preset="cpu", **given), rows, num_classes=3)
        names = ("optimizer", "train_batch", "min_steps", "learning_rate")
        return tuple(getattr(found, name) for name in names)

    # On a CPU, half the images in a step.
    assert trained() == ("sgd", 16, 1200, 0.05)
    assert trained(train_batch=64) == ("sgd", 64, 1200, 0.1)
    assert trained(optimizer="adamw") == ("adamw", 16, 1200, 1e-3)
    assert trained(model="mlp", width=8) == ("adamw", 16, 600, 5e-3)


def test_few_labels_get_as_many_steps_unless_epochs_are_given():
    inputs, labels = blobs(12, 2)
    pool = make_pool(inputs, labels, mesh=ONE)
    for settings, steps in (({}, 600), ({"epochs": 7}, 7), ({"min_steps": 9}, 30)):
        learner = supervised(mlp(2, (4,)), **settings)
        start = learner.init(KEY, pool.inputs)
        assert int(learner.fit(KEY, start, pool)[1].num_steps) == steps


@pytest.mark.parametrize(
    ("shape", "name"),
    [((32, 32, 3), "crop_flip"), ((28, 28, 1), "shift"), ((8, 8, 3), "shift")],
)
def test_augmentation_follows_from_the_data(shape, name):
    assert recipes.AUGMENTATION_OF[recipes.kind_of(shape)] == name
    images = jax.random.uniform(KEY, (6, *shape))
    auto, named = (recipes.augmentation(n, shape) for n in ("auto", name))
    np.testing.assert_array_equal(auto(KEY, images), named(KEY, images))
    assert (np.asarray(auto(KEY, images)) != images).any()


@pytest.mark.parametrize("shape", [(), (5,), (7, 12)])
def test_what_is_no_image_is_left_alone(shape):
    assert recipes.augmentation("auto", shape) is None
    with pytest.raises(ValueError, match="mirror"):
        recipes.augmentation("mirror", shape)


def prices(num_rows=300):
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(num_rows, 3)).astype(np.float32) * [1, 50, 0.02] + 7
    targets = 4000 + 900 * np.tanh(inputs[:, 0] - 7) + (inputs[:, 1] - 7) * 4
    return inputs.astype(np.float32), targets.astype(np.float32)


@pytest.mark.parametrize(
    ("task", "outputs", "members"),
    thinned(
        [
            (gaussian_likelihood, 2, None),
            (least_squares, 1, None),
            (least_squares, 1, 2),
        ],
        keep=1,
    ),
)
def test_targets_in_any_unit_are_learnt_and_come_back_in_it(task, outputs, members):
    inputs, targets = prices()
    known = np.where(np.arange(300) < 60, targets, np.nan)
    pool = regression_pool(inputs, known, mesh=ONE)
    learner = supervised(mlp(outputs), task=task, members=members)
    start = learner.init(KEY, pool.inputs)
    state, info = jax.jit(learner.fit)(KEY, start, pool)
    assert bool(info.is_sound)
    assert float(info.naive_loss) > float(info.final_loss)
    found = learner.evaluate(state, pool.inputs[60:], jnp.asarray(targets[60:]))
    assert float(found.r2) > 0.9
    again, _ = jax.jit(learner.fit)(KEY, state, pool)  # outputs begin without a unit
    found = learner.evaluate(again, pool.inputs[60:], jnp.asarray(targets[60:]))
    assert float(found.r2) > 0.9


def test_one_target_or_equal_ones_have_no_spread_to_divide_by():
    for targets in ([5.0, np.nan], [5.0, 5.0], [np.nan, np.nan]):
        mean, spread = target_units(
            jnp.array(targets), jnp.isfinite(jnp.array(targets))
        )
        assert float(spread) == 1
        assert float(mean) in (0.0, 5.0)


def wild_loop(optimizer, labels, **settings):
    inputs, _ = blobs(60, 2)
    model = linear(2)
    return inputs, active_learner(
        model,
        supervised(model, optimizer, **settings),
        strategy("margin"),
        array_oracle(jnp.asarray(labels)),
        batch_size=3,
    )


def test_a_fit_that_is_nan_stops_the_loop_before_anything_is_bought():
    _, labels = blobs(60, 2)
    inputs, loop = wild_loop(optax.sgd(jnp.nan), labels, epochs=2)
    state = loop.init(KEY, make_pool(inputs, mesh=ONE), initial=10)
    with pytest.raises(FloatingPointError, match="NaN or infinite; nothing was"):
        loop.ask(KEY, state)
    after, info = jax.jit(loop.step)(KEY, state)
    assert int(after.pool.is_labelled.sum()) == 10
    assert not bool(info.fit.is_sound)


def test_a_fit_worse_than_class_frequencies_stops_the_loop():
    _, labels = blobs(60, 2)
    climbing = optax.sgd(lambda step: jnp.where(step < 1, 0.001, -0.05))
    inputs, loop = wild_loop(climbing, labels)
    state = loop.init(KEY, make_pool(inputs, mesh=ONE), initial=20)
    with pytest.raises(FloatingPointError, match="class frequencies"):
        loop.step(KEY, state)
    after, _ = jax.jit(loop.step)(KEY, state)
    assert int(after.pool.is_labelled.sum()) == 20
    np.testing.assert_array_equal(after.pool.labels, state.pool.labels)


def test_short_fits_need_not_have_arrived():
    _, labels = blobs(60, 2)
    inputs, loop = wild_loop(None, np.zeros_like(labels), epochs=1)
    state = loop.init(KEY, make_pool(inputs, mesh=ONE), initial=5)
    after, info = loop.step(KEY, state)
    assert float(info.fit.final_loss) > float(info.fit.naive_loss)
    assert int(after.pool.is_labelled.sum()) == 8


def test_class_frequencies_equal_numpy():
    labels, counts = jnp.array([0, 2, 2, 1]), np.array([2, 1, 3])
    found = soundness.class_frequencies(labels, jnp.array([1.0, 1, 1, 0]), 3)
    np.testing.assert_allclose(found, np.log(counts / 6), rtol=1e-5)


def test_labelled_rows_have_a_gradient_where_masks_alone_have_none():
    inputs, targets = prices(12)
    is_known = np.arange(12) % 3 == 1
    pool = regression_pool(inputs, np.where(is_known, targets, np.nan), mesh=ONE)
    rows = jax.jit(labelled_rows, static_argnums=1)(pool, 6)
    np.testing.assert_array_equal(rows.weights, [1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(rows.indices[:4], np.flatnonzero(is_known))
    np.testing.assert_array_equal(rows.labels[:4], targets[is_known])
    np.testing.assert_array_equal(rows.labels[4:], 0)

    def loss(w):
        return (rows.weights * jnp.square(rows.inputs @ w - rows.labels)).sum()

    def masked(w):
        errors = jnp.square(pool.inputs @ w - pool.labels)
        return jnp.where(pool.is_labelled, errors, 0).sum()

    known = inputs[is_known].astype(float)
    expected = -2 * known.T @ targets[is_known]
    np.testing.assert_allclose(jax.grad(loss)(jnp.zeros(3)), expected, rtol=1e-5)
    assert not np.isfinite(jax.grad(masked)(jnp.zeros(3))).all()
    nobody = labelled_rows(make_pool(inputs, mesh=ONE), 2)
    assert nobody.weights.tolist() == nobody.labels.tolist() == [0, 0]
