"""Logistic regression that is solved: against SciPy in 64 bits, and in a loop."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxal import (
    active_learner,
    array_oracle,
    logistic_head,
    make_pool,
    pool_mesh,
    seed_axes,
    strategy,
)
from jaxal.pools.mesh import replicate
from jaxal.training.heads.leave_one_out import leave_one_out_loss
from jaxal.training.heads.rows import column_factors, once_if, pool_moments, some_rows
from jaxal.training.heads.softmax import SoftmaxProblem, solve_softmax
from tests.toys import blobs

KEY = jax.random.key(0)


def one_device(inputs, labels=None):
    return make_pool(inputs, labels, mesh=pool_mesh(jax.devices()[:1]))


def fitted(head, pool, state=None):
    state = head.learner.init(KEY, pool.inputs[:1]) if state is None else state
    return jax.jit(head.learner.fit)(KEY, state, pool)


def some(num_labelled, width, classes=3, seed=0, num_rows=80):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(num_rows, width)) * np.exp(rng.normal(size=width)) + 3
    labels = (inputs @ rng.normal(size=(width, classes))).argmax(-1)
    known = np.full(num_rows, -1)
    rows = rng.permutation(num_rows)[:num_labelled]
    known[rows] = labels[rows]
    return inputs.astype(np.float32), known, rows


def solved_by_scipy(z, targets, weights, penalty):
    """Kernel and bias that SciPy finds, in 64 bits."""
    z, shape = z.astype(float), (z.shape[1] + 1, targets.shape[1])

    def loss(flat):
        w = flat.reshape(shape)
        logits = z @ w[:-1] + w[-1]
        logs = logits - scipy.special.logsumexp(logits, axis=1, keepdims=True)
        pulls = penalty * (w[:-1] ** 2).sum() / 2 + (w[-1] ** 2).sum() / 2
        errors = weights[:, None] * (np.exp(logs) - targets)
        slope = np.vstack([z.T @ errors + penalty * w[:-1], errors.sum(0) + w[-1]])
        return pulls - (weights[:, None] * targets * logs).sum(), slope.ravel()

    start, tight = np.zeros(np.prod(shape)), {"ftol": 1e-15, "gtol": 1e-9}
    found = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options=tight | MOST
    )
    return found.x.reshape(shape)[:-1], found.x.reshape(shape)[-1]


MOST = {"maxiter": 5000, "maxfun": 10000}


@pytest.mark.parametrize(
    ("width", "capacity"), [(4, None), (4, 30), (40, 30), (90, None)]
)
@pytest.mark.parametrize("scaling", ["one", "columns"])
def test_it_is_the_minimum(width, capacity, scaling):
    inputs, known, rows = some(25, width)
    rng = np.random.default_rng(1)
    soft = rng.dirichlet(np.ones(3), size=80)
    weights, of_class = rng.uniform(0, 3, 80), np.array([1.0, 0.5, 2.0])
    head = logistic_head(
        3,
        scaling=scaling,
        penalty=0.05,
        capacity=capacity,
        row_weights=weights,
        class_weights=of_class,
        soft_labels=soft,
    )
    state, info = fitted(head, one_device(inputs, known))
    spread = inputs.std(0).astype(float)
    factor = 1 / np.sqrt((spread**2).sum())
    if scaling == "columns":
        factor = 1 / spread / np.sqrt(width)
    z = (inputs - inputs.mean(0)) * factor
    weights = (weights * (soft @ of_class))[rows]
    kernel, bias = solved_by_scipy(z[rows], soft[rows], weights, 0.05)
    logits = head.model.apply(state, jnp.asarray(inputs))[0].logits
    np.testing.assert_allclose(logits, z @ kernel + bias, atol=0.02)
    assert int(info.num_labelled) == 25 and int(info.num_steps) < 500


def test_features_are_units_in_which_the_prior_is_standard():
    inputs, known, _ = some(25, 4)
    state, _ = fitted(logistic_head(3), one_device(inputs, known))
    features = logistic_head(3).model.apply(state, jnp.asarray(inputs))[0].features
    norm = (np.asarray(features, float) ** 2).sum(-1).mean()
    np.testing.assert_allclose(norm * state["choice"]["penalty"], 1, rtol=1e-3)


def test_rows_that_are_not_labelled_change_nothing():
    inputs, known, rows = some(25, 4)
    pool = one_device(inputs, known)
    others = np.setdiff1d(np.arange(80), rows)
    dirty = pool._replace(
        labels=pool.labels.at[others].set(7),
        inputs=pool.inputs.at[others[:3]].set(jnp.nan),
        is_valid=pool.is_valid.at[others[:3]].set(False),
    )
    clean = dirty._replace(inputs=pool.inputs, labels=pool.labels)
    found, expected = (fitted(logistic_head(3), p)[0] for p in (dirty, clean))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("num_labelled", [0, 1, 2, 3])
def test_few_labels_of_few_classes_are_no_trouble(num_labelled):
    inputs, known, rows = some(num_labelled, 6, classes=2)
    head = logistic_head(5, capacity=10)
    state, _ = fitted(head, one_device(inputs, known))
    logits = head.model.apply(state, jnp.asarray(inputs))[0].logits
    assert jnp.isfinite(logits).all()
    if num_labelled:  # a class nobody has seen is possible, and less likely
        assert set(logits[rows].argmax(-1).tolist()) <= set(known[rows].tolist())
    else:
        assert (logits == 0).all()


def test_a_constant_column_and_a_fixed_answer():
    inputs, known, _ = some(20, 3)
    inputs[:, 1] = 1234.5
    state, _ = fitted(logistic_head(3, scaling="columns"), one_device(inputs, known))
    assert float(state["scale"]["factor"][1]) == 0
    assert jnp.isfinite(state["params"]["kernel"]).all()


def test_choice_is_kept_until_labels_have_grown_by_half():
    inputs, labels = blobs(80)
    head, chosen = logistic_head(3), []
    state = None
    for count in (10, 14, 15, 22, 23, 12):
        known = np.where(np.arange(80) < count, labels, -1)
        state, _ = fitted(head, one_device(inputs, known), state)
        chosen.append(int(state["choice"]["num_labelled"]))
    assert chosen == [10, 10, 15, 15, 23, 12]


def test_a_warm_start_ends_where_a_cold_one_does_in_fewer_steps():
    inputs, known, rows = some(40, 30, num_rows=200)
    head = logistic_head(3, scaling="one", penalty=0.01, capacity=50)
    fewer = known.copy()
    fewer[rows[:3]] = -1
    state, _ = fitted(head, one_device(inputs, fewer))
    warm, after = fitted(head, one_device(inputs, known), state)
    cold, before = fitted(head, one_device(inputs, known))
    asked = [head.model.apply(s, jnp.asarray(inputs))[0].logits for s in (warm, cold)]
    np.testing.assert_allclose(*asked, atol=0.05)
    assert int(after.num_steps) < int(before.num_steps)


@pytest.mark.parametrize("penalty", [0.1, pytest.param(None, marks=pytest.mark.slow)])
def test_capacity_larger_than_a_chunk_of_rows_is_the_same_fit(penalty):
    inputs, known, _ = some(300, 5, num_rows=700)
    found = []
    for capacity in (None, 512, 300):
        head = logistic_head(3, scaling="one", penalty=penalty, capacity=capacity)
        state, info = fitted(head, one_device(inputs, known))
        assert int(info.num_labelled) == 300
        found.append(head.model.apply(state, jnp.asarray(inputs))[0].logits)
    np.testing.assert_allclose(found[0], found[2], atol=1e-3)
    np.testing.assert_allclose(found[1], found[2], atol=1e-3)


def test_under_vmap_only_lanes_in_which_it_is_due_compute():
    asked = []

    def compute(x):
        jax.debug.callback(asked.append, x)
        return x + 1

    is_due, x = jnp.array([False, True, False]), jnp.arange(3.0)
    run = jax.jit(jax.vmap(lambda d, x: once_if(d, compute, -x, x)))
    assert run(is_due, x).tolist() == [0, 2, -2]
    jax.effects_barrier()
    assert [float(a) for a in asked] == [1]


def left_out(z, targets, penalty):
    """The formula of `leave_one_out_loss`, in 64 bits and with inverses."""
    logits = z @ np.vstack(solved_by_scipy(z[:, :-1], targets, np.ones(50), penalty))
    probs = scipy.special.softmax(logits, axis=1)
    curvature = probs * (1 - probs)
    pull = np.diag([penalty] * (z.shape[1] - 1) + [1.0])
    for c, h in enumerate(curvature.T):
        lever = np.diag(z @ np.linalg.inv((z.T * h) @ z + pull) @ z.T)
        logits[:, c] += lever * (probs - targets)[:, c] / (1 - h * lever)
    return -(targets * scipy.special.log_softmax(logits, axis=1)).sum()


@pytest.mark.parametrize("width", [4, 60])
def test_rows_left_out_are_those_of_a_newton_step(width):
    rng = np.random.default_rng(0)
    z = np.hstack([rng.normal(size=(50, width)), np.ones((50, 1))])
    targets = np.eye(3)[(z[:, :3] + 0.3 * rng.normal(size=(50, 3))).argmax(1)]
    penalties = np.array([0.1, 1.0])
    pulls = np.hstack([np.repeat(penalties[:, None], width, 1), np.ones((2, 1))])
    numbers = [jnp.asarray(x, jnp.float32) for x in (z, targets, np.ones(50), pulls)]
    problem = SoftmaxProblem(*numbers, jnp.int32(50))
    found = leave_one_out_loss(problem, solve_softmax(problem).coefficients)
    expected = [left_out(z, targets, penalty) for penalty in penalties]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_tables_are_scaled_by_column_and_embeddings_by_one_number():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    # All that is known lies in a small column, or in the largest.
    for size, by_column in ((1e-3, True), (30.0, False)):
        inputs = rng.normal(size=(300, 20)).astype(np.float32)
        inputs[:, 0] = size * (3 * labels + rng.normal(size=300))
        known = np.where(np.arange(300) < 40, labels, -1)
        state, _ = fitted(logistic_head(2), one_device(inputs, known))
        assert bool(state["choice"]["by_column"]) == by_column


@pytest.mark.slow
def test_a_loop_under_jit_scan_and_vmap_buys_what_it_buys_by_hand():
    inputs, labels = blobs(60)
    head = logistic_head(3, capacity=20)
    loop = active_learner(
        head.model,
        head.learner,
        strategy("bald"),
        array_oracle(jnp.asarray(labels)),
        batch_size=4,
        posterior=head.posterior,
        test=(jnp.asarray(inputs), jnp.asarray(labels)),
    )
    pool = one_device(inputs)
    states = [loop.init(jax.random.key(s), pool, initial=4) for s in range(2)]
    keys = jnp.stack([jax.random.split(jax.random.key(9 + s), 4) for s in range(2)])

    def rounds(keys, state):
        return jax.lax.scan(lambda s, k: loop.step(k, s), state, keys)

    stacked = jax.tree.map(lambda *x: jnp.stack(x), *states)
    stacked = stacked._replace(pool=stacked.pool._replace(inputs=pool.inputs))
    axes = seed_axes(stacked)
    run = jax.jit(jax.vmap(rounds, in_axes=(0, axes), out_axes=(axes, 0)))
    after, infos = run(keys, stacked)
    for s, state in enumerate(states):
        for key in keys[s]:
            state, info = loop.step(key, state)
        same = np.asarray(state.pool.is_labelled == after.pool.is_labelled[s])
        assert same.all()
        assert abs(float(info.metrics.nll - infos.metrics.nll[s, -1])) < 1e-3
    assert (infos.metrics.accuracy[:, -1] > 0.9).all()
    assert loop.phases.train(KEY, states[0])[1].num_steps.dtype == jnp.int32


def test_nothing_is_traced_again_in_the_second_round():
    inputs, labels = blobs(60)
    head, count = logistic_head(3), []

    def fit(*args):
        count.append(1)
        return head.learner.fit(*args)

    pool = one_device(inputs, labels)
    state, run = replicate(head.learner.init(KEY, pool.inputs[:1]), pool), jax.jit(fit)
    for _ in range(3):
        state, _ = run(KEY, state, pool)
    assert len(count) == 1


def test_rows_that_choose_are_spread_over_those_in_use():
    rows, is_used = jnp.arange(100), jnp.arange(100) < 70
    few, counted = some_rows(rows, is_used, 20)
    assert few.tolist() == [i * 70 // 20 for i in range(20)] and counted.all()
    few, counted = some_rows(rows, jnp.arange(100) < 7, 20)
    assert few[:7].tolist() == list(range(7)) and int(counted.sum()) == 7


def test_units_of_a_pool_longer_than_what_is_read_of_it():
    inputs = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32) * 5
    pool = one_device(inputs)
    moments = pool_moments(pool)
    np.testing.assert_allclose(moments.deviation, inputs[::3].std(0), rtol=1e-4)
    z = (inputs - np.asarray(moments.mean)) * np.asarray(column_factors(moments, True))
    np.testing.assert_allclose((z**2).sum(-1).mean(), 1, rtol=0.05)


def test_a_row_of_weight_two_narrows_the_posterior_like_two_rows():
    inputs, known, rows = some(12, 4)
    twice = np.vstack([inputs, inputs[rows]]), np.append(known, known[rows])
    alone = {"scaling": "one", "penalty": 0.1}
    head = logistic_head(3, **alone, class_weights=[2.0] * 3, row_weights=np.ones(80))
    state, _ = fitted(head, one_device(inputs, known))
    found = head.posterior.fit(KEY, state, one_device(inputs, known))
    plain = logistic_head(3, **alone).posterior
    expected = plain.fit(KEY, state, one_device(*twice))
    other = plain.fit(KEY, state, one_device(inputs, known))
    samples = [
        np.asarray(plain.sample(KEY, s, jnp.asarray(inputs)).logits).std(0)
        for s in (found, expected, other)
    ]
    np.testing.assert_allclose(samples[0], samples[1], rtol=1e-2)
    assert samples[0].mean() < 0.95 * samples[2].mean()


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match="scaling is 'rows'"):
        logistic_head(2, scaling="rows")
    with pytest.raises(ValueError, match="penalty is 0"):
        logistic_head(2, penalty=0)
    with pytest.raises(ValueError, match=r"class_weights has shape \[3\]"):
        logistic_head(2, class_weights=np.ones(3))
    with pytest.raises(ValueError, match="row_weights holds"):
        logistic_head(2, row_weights=[1.0, -1.0])


def test_the_example_of_the_page_runs():
    page = pathlib.Path(__file__).parents[3] / "docs" / "learners.md"
    block = re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    names = {}
    exec(compile(block[1], str(page), "exec"), names)
    assert int(names["info"].num_labelled) == 30
    assert float(names["info"].metrics.accuracy) > 0.7
