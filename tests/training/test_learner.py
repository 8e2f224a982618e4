"""A fit: which rows it sees, in which order, and that it is traced once."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxal.models import from_linen
from jaxal.pools.changes import reveal
from jaxal.pools.mesh import pool_mesh, replicate
from jaxal.pools.pool import make_pool
from jaxal.training import optimizers, weights
from jaxal.training.batches import batch, shuffled
from jaxal.training.learner import supervised
from jaxal.training.tasks import cross_entropy
from jaxal.types import Model, Output
from tests.thinned import thinned
from tests.toys import blobs, linear

KEY = jax.random.key(0)


def one_device_pool(inputs, labels=None):
    return make_pool(inputs, labels, mesh=pool_mesh(jax.devices()[:1]))


def recording_model():
    """Its only parameter counts how often each input was seen with weight."""

    def init(key, inputs):
        del key, inputs
        return {"params": {"w": jnp.zeros(8)}}

    def apply(variables, inputs, *, key=None, train=False):
        w = variables["params"]["w"]
        one_hot = jax.nn.one_hot(inputs.astype(int), 8)
        logits = jnp.stack([one_hot @ w, jnp.zeros(inputs.shape[0])], axis=-1)
        return Output(logits, one_hot), variables

    return Model(init, apply)


def plain_sgd(rate):
    return optimizers.Optimizer(optax.identity(), optimizers.constant(rate))


def test_every_epoch_sees_each_labelled_row_once_and_no_other():
    pool = one_device_pool(np.arange(8.0), np.array([0, -1, 0, 0, -1, 0, 0, -1]))
    learner = supervised(
        recording_model(), plain_sgd(1e-3), epochs=3, batch_size=2, capacity=8
    )
    variables = learner.init(KEY, pool.inputs)
    state, info = learner.fit(KEY, variables, pool)
    moved = state["params"]["w"]
    # A batch's mean divides by its real rows: an epoch of 5 in batches of 2 moves the
    # full batches' rows by g/2 and the last one by g; all of them move, nothing else.
    assert (moved[jnp.array([1, 4, 7])] == 0).all()
    gradient = 1e-3 * 0.5
    steps = np.asarray(moved[jnp.array([0, 2, 3, 5, 6])]) / gradient
    np.testing.assert_allclose(steps.sum(), 3 * (4 * 0.5 + 1), rtol=1e-2)
    assert steps.min() > 1.4  # three epochs, at least half a gradient in each
    assert int(info.num_steps) == 9
    assert int(info.num_labelled) == 5


def test_epochs_differ_in_order_and_the_unused_tail_stays_behind():
    order = jnp.array([3, 5, 7, 9, 0, 0])
    orders = {
        tuple(shuffled(jax.random.key(i), order, jnp.int32(4)).tolist())
        for i in range(20)
    }
    assert len(orders) > 10
    assert all(sorted(o[:4]) == [3, 5, 7, 9] and o[4:] == (0, 0) for o in orders)


def test_last_batch_is_filled_with_real_rows_of_no_weight():
    rows, weight = batch(4, jnp.array([3, 5, 7, 0]), jnp.int32(3), jnp.int32(0))
    assert rows.tolist() == [3, 5, 7, 3]
    assert weight.tolist() == [1, 1, 1, 0]


def test_full_batch_gradient_descent_equals_numpy():
    inputs, labels = blobs(30, 3)
    pool = one_device_pool(inputs, labels)
    learner = supervised(linear(3), plain_sgd(0.1), epochs=20, batch_size=30)
    start = learner.init(KEY, pool.inputs)
    # A warm start, so that both begin with the same weights.
    learner = supervised(
        linear(3), plain_sgd(0.1), epochs=20, batch_size=30, refit=weights.warm_start
    )
    found, _ = learner.fit(KEY, start, pool)
    w, b = (np.asarray(start["params"][k], np.float64) for k in ("w", "b"))
    for _ in range(20):
        logits = inputs.astype(np.float64) @ w + b
        probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        error = (probs - np.eye(3)[labels]) / 30
        w, b = w - 0.1 * inputs.T @ error, b - 0.1 * error.sum(0)
    np.testing.assert_allclose(found["params"]["w"], w, atol=1e-5)
    np.testing.assert_allclose(found["params"]["b"], b, atol=1e-5)


def test_it_learns_only_from_what_the_oracle_said():
    inputs, labels = blobs(60, 2)
    lies = 1 - labels
    pool = one_device_pool(inputs, lies)
    learner = supervised(linear(2), epochs=20)
    state, _ = learner.fit(KEY, learner.init(KEY, pool.inputs), pool)
    metrics = learner.evaluate(state, jnp.asarray(inputs), jnp.asarray(labels))
    assert float(metrics.accuracy) < 0.05


# To the bit with few operations; of more, two programs may round some in other places.
@pytest.mark.parametrize(
    ("optimizer", "tolerance"), thinned([(optimizers.sgd(0.1), 0), (None, 1e-6)], 1)
)
def test_pieces_of_a_fit_are_the_fit(optimizer, tolerance):
    inputs, labels = blobs(20, 2)
    pool = one_device_pool(inputs, np.where(np.arange(20) < 11, labels, -1))
    learner = supervised(linear(2), optimizer, epochs=7, batch_size=4)
    variables = learner.init(KEY, pool.inputs)
    options = {"xla_backend_optimization_level": 3}
    fit = jax.jit(learner.fit, compiler_options=options)
    whole, info = fit(KEY, variables, pool)
    advance = jax.jit(learner.advance, compiler_options=options)
    state = learner.start(KEY, variables, pool)
    for size in (1, 5, 2, 100):
        state = advance(state, pool, jnp.int32(size))
    pieces, same_info = learner.finish(state, pool)
    found, expected = (whole, info), (pieces, same_info)
    chex.assert_trees_all_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("members", [None, 2])
def test_more_labels_do_not_retrace(members):
    inputs, labels = blobs(20, 2)
    pool = one_device_pool(inputs)
    learner = supervised(linear(2), epochs=2, batch_size=4, members=members)
    variables = replicate(learner.init(KEY, pool.inputs), pool)
    chex.clear_trace_counter()  # it counts by source line, over all parameters
    fit = jax.jit(chex.assert_max_traces(learner.fit, n=1))
    for i in range(3):
        rows = jnp.arange(4) + 4 * i
        pool = reveal(pool, rows, jnp.asarray(labels)[rows], jnp.ones(4, bool))
        variables, info = fit(jax.random.key(i), variables, pool)
        assert int(info.num_labelled) == 4 * (i + 1)


def test_nothing_labelled_is_a_fit_of_no_steps():
    pool = one_device_pool(np.ones([4, 2], np.float32))
    for averaging in (None, weights.ema(), weights.swa()):
        learner = supervised(linear(2), min_steps=5, averaging=averaging)
        state, info = learner.fit(KEY, learner.init(KEY, pool.inputs), pool)
        assert int(info.num_steps) == 0
        chex.assert_tree_all_finite(state)


def test_members_are_single_fits_with_their_own_keys():
    inputs, labels = blobs(12, 2)
    pool = one_device_pool(inputs, labels)
    settings = {"epochs": 3, "batch_size": 4}
    many = supervised(linear(2), members=3, **settings)
    variables = many.init(KEY, pool.inputs)
    found, _ = many.fit(KEY, variables, pool)
    single = supervised(linear(2), **settings)
    for i, key in enumerate(jax.random.split(KEY, 3)):
        member = jax.tree.map(lambda x, i=i: x[i], variables)
        expected, _ = single.fit(key, member, pool)
        got = jax.tree.map(lambda x, i=i: x[i], found)
        chex.assert_trees_all_close(got, expected, atol=1e-6)


@pytest.mark.parametrize("averaging", [weights.ema(0.9), weights.swa(0.5)])
def test_averages_equal_numpy(averaging):
    progress = np.arange(10) / 10
    params = np.random.default_rng(0).normal(size=10)
    state = averaging.init(jnp.zeros([]))
    for p, t in zip(params, progress, strict=True):
        state = averaging.update(state, jnp.asarray(p), jnp.asarray(t))
    found = averaging.finish(state, jnp.asarray(params[-1]))
    ema = np.average(params, weights=0.9 ** np.arange(9, -1, -1))
    expected = {True: ema, False: params[5:].mean()}
    first = averaging.update(averaging.init(jnp.zeros([])), jnp.ones([]), 0.0)
    is_ema = float(first[1]) > 0
    np.testing.assert_allclose(found, expected[is_ema], rtol=1e-5)


class _Normed(nn.Module):
    momentum: float

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Dense(3, name="body")(x)
        x = nn.BatchNorm(not train, momentum=self.momentum, name="norm")(x)
        return nn.Dense(2)(x)


@pytest.mark.parametrize(
    ("momentum", "members"),
    [(0.9, None), pytest.param(0.99, 2, marks=pytest.mark.slow)],
)
def test_averaged_weights_get_the_statistics_of_the_labelled_rows(momentum, members):
    inputs, labels = blobs(12, 2)
    inputs = 4 + 3 * inputs  # far from the mean 0 and variance 1 of the beginning
    bought = np.arange(12) < 8
    pool = one_device_pool(inputs, np.where(bought, labels, -1))
    for batch_size in (8, 4):  # one pass of one step, then of two
        learner = supervised(
            from_linen(_Normed(momentum)),
            epochs=3,
            batch_size=batch_size,
            averaging=weights.ema(0.8),
            members=members,
        )
        state, _ = learner.fit(KEY, learner.init(KEY, pool.inputs), pool)
        if members:
            state = jax.tree.map(lambda x: x[1], state)
        body = jax.tree.map(np.float64, state["params"]["body"])
        hidden = inputs[bought] @ body["kernel"] + body["bias"]
        found = state["batch_stats"]["norm"]
        np.testing.assert_allclose(found["mean"], hidden.mean(0), rtol=1e-3)
        if batch_size == 8:
            np.testing.assert_allclose(found["var"], hidden.var(0), rtol=1e-2)
        else:  # the mean of two halves' variances
            assert (found["var"] > 0).all()
            assert (found["var"] < hidden.var(0) * 1.01).all()


def test_what_is_no_running_average_stays_as_training_left_it():
    """A buffer that is used, a counter, and one array that moves in its own way."""
    toy = linear(2)
    kept = {
        "buffer": jnp.full(2, 7.0),
        "calls": jnp.zeros([], jnp.int32),
        "turns": jnp.zeros([]),
        "unit": jnp.array([0.6, 0.8]),
    }

    def init(key, inputs):
        return {**toy.init(key, inputs), "kept": kept, "stats": jnp.zeros(2)}

    def apply(variables, inputs, *, key=None, train=False):
        old = variables["kept"]
        inputs = inputs * (old["buffer"][None] == 7)  # any other would be seen at once
        output, variables = toy.apply(variables, inputs)
        if not train:
            return output, variables
        unit = old["unit"] + inputs[0]
        new = old | {
            "calls": old["calls"] + 1,
            "turns": old["turns"] + 1,
            "unit": unit / jnp.linalg.norm(unit),
        }
        stats = 0.9 * variables["stats"] + 0.1 * inputs.mean(0)
        return output, {**variables, "kept": new, "stats": stats}

    inputs, labels = blobs(8, 2)
    pool = one_device_pool(inputs, labels)
    settings = {"epochs": 2, "batch_size": 4}
    model = Model(init, apply)
    start = model.init(KEY, pool.inputs)
    plain, _ = supervised(model, **settings).fit(KEY, start, pool)
    averaged = supervised(model, averaging=weights.swa(), **settings)
    found, _ = jax.jit(averaged.fit)(KEY, start, pool)
    assert int(found["kept"]["calls"]) == 4
    chex.assert_trees_all_close(found["kept"], plain["kept"], rtol=1e-6)
    np.testing.assert_allclose(found["stats"], inputs.mean(0), rtol=1e-4, atol=1e-5)


def test_refits():
    previous = {"params": jnp.ones(2), "batch_stats": jnp.zeros(1)}
    fresh = {"params": jnp.full(2, 3.0), "batch_stats": jnp.ones(1)}
    assert weights.retrain(KEY, previous, fresh) is fresh
    assert weights.warm_start(KEY, previous, fresh) is previous
    shrunk = weights.shrink_and_perturb(0.5, 0.1)(KEY, previous, fresh)
    np.testing.assert_allclose(shrunk["params"], 0.5 + 0.3)
    assert shrunk["batch_stats"] is previous["batch_stats"]


def test_sgd_equals_optax_and_spares_biases():
    params = {"w": jnp.ones([2, 2]), "b": jnp.ones(2)}
    zero = jax.tree.map(jnp.zeros_like, params)
    optimizer = optimizers.sgd(0.1, weight_decay=0.5)
    updates, _ = optimizer.direction.update(
        zero, optimizer.direction.init(params), params
    )
    assert (updates["b"] == 0).all()
    np.testing.assert_allclose(updates["w"], 0.5 * 1.9)  # g + mu g, Nesterov's first
    reference = optax.sgd(0.1, momentum=0.9, nesterov=True)
    grads = jax.tree.map(lambda p: 2 * p, params)
    plain = optimizers.sgd(optimizers.constant(0.1), weight_decay=0.0)
    state, ours = reference.init(params), plain.direction.init(params)
    for _ in range(3):
        theirs, state = reference.update(grads, state, params)
        mine, ours = plain.direction.update(grads, ours, params)
        chex.assert_trees_all_close(theirs, jax.tree.map(lambda u: -0.1 * u, mine))


def test_schedules_at_their_corners():
    cosine = optimizers.cosine(2.0, warmup=0.2)
    np.testing.assert_allclose(
        [cosine(jnp.asarray(t)) for t in (0.0, 0.1, 0.2, 0.6, 1.0)],
        [0, 1, 2, 1, 0],
        atol=1e-6,
    )
    cycle = optimizers.one_cycle(2.0, warmup=0.5, start=0.1)
    np.testing.assert_allclose(
        [cycle(jnp.asarray(t)) for t in (0.0, 0.5, 0.75, 1.0)],
        [0.2, 2, 1, 0],
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="share of the fit"):
        optimizers.cosine(0.1, warmup=5)


def test_smoothed_cross_entropy_equals_optax():
    logits = jax.random.normal(KEY, (5, 4))
    labels = jnp.array([0, 1, 2, 3, 0])
    smoothed = optax.smooth_labels(jax.nn.one_hot(labels, 4), 0.1)
    np.testing.assert_allclose(
        cross_entropy(logits, labels, 0.1),
        optax.softmax_cross_entropy(logits, smoothed),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "settings",
    [{"epochs": 0}, {"batch_size": 0}, {"label_smoothing": 1}, {"members": 1}],
)
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        supervised(linear(2), **settings)
