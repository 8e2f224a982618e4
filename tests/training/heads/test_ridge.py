"""Ridge regression that is solved: against NumPy in 64 bits, and its doubts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    active_learner,
    array_oracle,
    by_score,
    gaussian_process_head,
    pool_mesh,
    predictive_variance,
    regression_pool,
    ridge_head,
)
from jaxal.training.heads.ridge import _solve

KEY = jax.random.key(0)


def some(num_labelled, width, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(60, width)) * np.exp(rng.normal(size=width)) - 2
    targets = 1e4 + 50 * (inputs @ rng.normal(size=width)) + rng.normal(size=60)
    rows = rng.permutation(60)[:num_labelled]
    known = np.full(60, np.nan)
    known[rows] = targets[rows]
    return inputs.astype(np.float32), known, rows


def fitted(head, inputs, known):
    mesh = pool_mesh(jax.devices()[:1])
    pool = regression_pool(inputs, known, mesh=mesh)
    state = head.learner.init(KEY, pool.inputs[:1])
    return pool, *jax.jit(head.learner.fit)(KEY, state, pool)


@pytest.mark.parametrize(("width", "capacity"), [(4, None), (30, 25)])
def test_it_is_the_solution_in_the_units_of_the_targets(width, capacity):
    inputs, known, rows = some(20, width)
    head = ridge_head(scaling="columns", penalty=0.02, capacity=capacity)
    pool, state, info = fitted(head, inputs, known)
    z = (inputs - inputs.mean(0)) / inputs.std(0) / np.sqrt(width)
    z = np.column_stack([z.astype(float), np.ones(60)])
    y = known[rows]
    pull = np.diag(np.append(np.full(width, 0.02), 1e-3))
    gram = np.linalg.inv(z[rows].T @ z[rows] + pull)
    mean = z @ (gram @ z[rows].T @ (y - y.mean())) + y.mean()
    outputs = head.model.apply(state, jnp.asarray(inputs))[0].logits
    np.testing.assert_allclose(outputs[:, 0], mean, atol=0.02 * y.std())
    left_out = []
    for n in range(20):
        others = np.delete(rows, n)
        gram_n = np.linalg.inv(z[others].T @ z[others] + pull)
        w = gram_n @ z[others].T @ (known[others] - y.mean())
        left_out.append(known[rows[n]] - y.mean() - z[rows[n]] @ w)
    noise = np.mean(np.square(left_out))
    np.testing.assert_allclose(float(state["noise"]), noise, rtol=0.03)
    assert int(info.num_labelled) == 20
    # Draws have the covariance of the weights.
    posterior = ridge_head(capacity=capacity, num_samples=4000).posterior
    draws = posterior.sample(KEY, posterior.fit(KEY, state, pool), pool.inputs).logits
    spread = noise * np.einsum("nd,de,ne->n", z, gram, z)
    np.testing.assert_allclose(draws[..., 0].var(0), spread, rtol=0.15)


def test_errors_left_out_are_those_of_fits_without_the_row():
    rng = np.random.default_rng(3)
    design = np.column_stack([rng.normal(size=(12, 3)), np.ones(12)])
    targets, used = rng.normal(size=12), np.arange(12) < 9
    found = _solve(
        *(jnp.asarray(x) for x in (np.float32(design), np.float32(targets))),
        jnp.asarray(used),
        jnp.float32(0.3),
    )[1]
    pull = np.diag([0.3, 0.3, 0.3, 1e-3])
    for n in range(9):
        z, y = np.delete(design[:9], n, 0), np.delete(targets[:9], n)
        w = np.linalg.solve(z.T @ z + pull, z.T @ y)
        np.testing.assert_allclose(found[n], targets[n] - design[n] @ w, rtol=1e-3)
    assert (found[9:] == 0).all()


@pytest.mark.parametrize("num_labelled", [0, 1, 2])
def test_few_targets_are_no_trouble(num_labelled):
    inputs, known, rows = some(num_labelled, 5)
    _, state, _ = fitted(ridge_head(), inputs, known)
    outputs = ridge_head().model.apply(state, jnp.asarray(inputs))[0].logits
    assert jnp.isfinite(outputs).all()
    if num_labelled == 1:
        np.testing.assert_allclose(outputs[:, 0], known[rows[0]], rtol=1e-3)


@pytest.mark.parametrize("head", [ridge_head(), gaussian_process_head(capacity=2)])
def test_several_inputs_are_refused(head):
    with pytest.raises(TypeError, match="inputs are dict.*one array.*supervised"):
        head.learner.init(KEY, {"a": jnp.zeros([2, 1]), "b": jnp.zeros([2, 1])})


def test_a_loop_buys_where_it_is_unsure():
    inputs, known, rows = some(60, 3)
    head = ridge_head(capacity=20)
    loop = active_learner(
        head.model,
        head.learner,
        by_score(partial(predictive_variance, has_log_variance=True), "samples"),
        array_oracle(jnp.asarray(known, jnp.float32)),
        batch_size=4,
        posterior=head.posterior,
        test=(jnp.asarray(inputs), jnp.asarray(known, jnp.float32)),
    )
    pool = regression_pool(inputs, mesh=pool_mesh(jax.devices()[:1]))
    state = loop.init(KEY, pool, initial=4)
    for i in range(4):
        state, info = loop.step(jax.random.key(i), state)
    assert float(info.metrics.r2) > 0.99 and np.isfinite(float(info.metrics.nll))
