"""Draws made elsewhere: Markov chains, and functions of a Gaussian process."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from jaxal import (
    Learner,
    active_learner,
    array_oracle,
    by_score,
    drawn_parameters,
    gaussian_functions,
    make_pool,
    pool_mesh,
    regression_pool,
    strategy,
    temperature_scaled,
)
from jaxal.training.regression import least_squares
from tests.toys import blobs, linear

KEY = jax.random.key(0)
INPUTS, LABELS = blobs(40, 3)
MODEL = linear(3)


def nuts(num_draws, num_warmup=150, prior=1.0):
    """A learner whose fit is NUTS; its state is parameters with an axis of draws."""

    def init(key, inputs):
        draws = jax.random.split(key, num_draws)
        return jax.vmap(lambda key: MODEL.init(key, inputs))(draws)

    def fit(key, state, pool):
        def log_density(params):
            logits = MODEL.apply({"params": params}, pool.inputs)[0].logits
            picked = jax.nn.log_softmax(logits)[jnp.arange(len(logits)), pool.labels]
            fit = jnp.where(pool.is_labelled, picked, 0).sum()
            return fit - 0.5 * prior * sum(jnp.vdot(p, p) for p in params.values())

        key_warmup, key_draws = jax.random.split(key)
        first = jax.tree.map(lambda x: x[0], state["params"])
        warmup = blackjax.window_adaptation(blackjax.nuts, log_density)
        (chain, settings), _ = warmup.run(key_warmup, first, num_warmup)
        step = blackjax.nuts(log_density, **settings).step

        def draw(chain, key):
            chain, info = step(key, chain)
            return chain, (chain.position, info.is_divergent)

        keys = jax.random.split(key_draws, num_draws)
        _, (params, is_divergent) = jax.lax.scan(draw, chain, keys)
        return {"params": params}, {"divergent": is_divergent.sum()}

    return Learner(init, fit)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["bald", "batch_bald"])
def test_a_markov_chain_of_blackjax_runs_the_loop(name):
    loop = active_learner(
        None,
        nuts(30),
        strategy(name),
        array_oracle(LABELS),
        batch_size=3,
        posterior=drawn_parameters(MODEL, 30),
        test=(jnp.asarray(INPUTS), jnp.asarray(LABELS)),
        chunk_size=16,
    )
    pool = make_pool(INPUTS, mesh=pool_mesh(jax.devices()[:1]))
    state = loop.init(KEY, pool, initial=jnp.arange(6))
    for i in range(2):
        state, info = loop.step(jax.random.key(i), state)
    assert int(state.pool.is_labelled.sum()) == 12
    assert loop.measured == "predictive" and float(info.metrics.accuracy) > 0.8
    assert int(info.fit["divergent"]) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_chains_mean_is_that_of_importance_sampling():
    known = np.where(np.arange(40) < 4, LABELS, -1)
    pool = make_pool(INPUTS, known, mesh=pool_mesh(jax.devices()[:1]))
    learner, posterior = nuts(2000), drawn_parameters(MODEL, 2000)
    draws, _ = jax.jit(learner.fit)(KEY, learner.init(KEY, pool.inputs), pool)
    found = jax.nn.softmax(posterior.predict(KEY, draws, pool.inputs[:10]).logits)
    # Half a million draws of the prior, weighted by the likelihood of four labels.
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(500_000, 3, 3))
    rows = np.concatenate([INPUTS[:10], np.ones((10, 1))], axis=1)
    probs = np.exp(np.einsum("nd,sdc->snc", rows, weights))
    probs /= probs.sum(-1, keepdims=True)
    likelihood = probs[:, np.arange(4), LABELS[:4]].prod(1)
    expected = np.einsum("s,snc->nc", likelihood / likelihood.sum(), probs)
    np.testing.assert_allclose(found, expected, atol=0.05)


def gp():
    """Exact moments of a GP regression given the labelled rows, in JAX."""

    def kernel(a, b):
        return jnp.exp(-jnp.square(a[:, None] - b[None]).sum(-1) / 2)

    def moments(state, inputs):
        inputs, known = inputs.astype(jnp.float32), state.is_labelled
        # Rows without a label have infinite noise: they say nothing.
        precision = known / 0.01
        gram = kernel(state.inputs, state.inputs)
        root = jnp.sqrt(precision)
        inner = jnp.eye(len(root)) + root[:, None] * gram * root[None]
        cross = kernel(inputs, state.inputs) * root[None]
        targets = root * jnp.where(known, state.labels, 0)
        mean = cross @ jnp.linalg.solve(inner, targets)
        seen = cross @ jnp.linalg.solve(inner, cross.T)
        return mean, kernel(inputs, inputs) - seen

    learner = Learner(
        lambda key, inputs: (),
        lambda key, state, pool: (pool, ()),
        task=least_squares,
    )
    return learner, moments


def test_functions_of_a_gaussian_process_against_scikit_learn():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(20, 2)).astype(np.float32)
    inputs[15:] = inputs[:5]
    targets = np.sin(inputs[:, 0])
    known = np.arange(20) % 4 == 0
    pool = regression_pool(
        inputs, np.where(known, targets, np.nan), mesh=pool_mesh(jax.devices()[:1])
    )
    learner, moments = gp()
    posterior = gaussian_functions(moments, 20_000)
    state, _ = learner.fit(KEY, (), pool)
    draws = np.asarray(posterior.sample(KEY, state, pool.inputs).logits)[..., 0]
    process = GaussianProcessRegressor(RBF(1.0), alpha=0.01, optimizer=None)
    process.fit(inputs[known], targets[known])
    mean, covariance = process.predict(inputs, return_cov=True)
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.04)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.04)
    np.testing.assert_allclose(
        posterior.network(state, pool.inputs).logits[:, 0], mean, atol=1e-3
    )
    np.testing.assert_allclose(draws[:, 15:], draws[:, :5], atol=5e-3)


def by_scikit_learn(known, answers):
    """Moments computed on the host, inside compiled code."""
    process = GaussianProcessRegressor(RBF(1.0), optimizer=None).fit(known, answers)

    def on_host(inputs):
        found = process.predict(np.asarray(inputs), return_cov=True)
        return tuple(np.asarray(x, np.float32) for x in found)

    def moments(state, inputs):
        size = inputs.shape[0]
        shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((size,), (size, size))]
        return jax.pure_callback(on_host, tuple(shapes), inputs)

    return moments


@pytest.mark.parametrize("kind", ["jax", "scikit-learn"])
def test_joint_draws_run_the_loop_whole(kind):
    inputs = np.linspace(-3, 3, 48, dtype=np.float32)[:, None]
    targets = np.sin(2 * inputs[:, 0])
    learner, moments = gp()
    if kind == "scikit-learn":
        moments = by_scikit_learn(inputs[::9], targets[::9])
    sizes = []

    def watched(state, rows):
        sizes.append(rows.shape[0])
        return moments(state, rows)

    loop = active_learner(
        None,
        learner,
        by_score(lambda draws: draws[..., 0].var(0), "samples"),
        array_oracle(targets),
        batch_size=4,
        posterior=gaussian_functions(watched, 50),
        test=(jnp.asarray(inputs[:7]), jnp.asarray(targets[:7])),
        chunk_size=5,
    )
    pool = regression_pool(inputs, mesh=pool_mesh(jax.devices()[:1]))
    state = loop.init(KEY, pool, initial=jnp.arange(6))
    for i in range(2):
        state, info = loop.step(jax.random.key(i), state)
    assert int(state.pool.is_labelled.sum()) == 14
    assert set(sizes) <= {48, 7, 1}  # pool, test set, and shapes of one row
    assert np.isfinite(info.metrics.rmse)


def test_a_gaussian_process_of_two_classes():
    inputs = jnp.linspace(-1, 1, 9)[:, None]

    def prior(state, rows):
        gaps = jnp.square(rows - rows.T)
        return 5 * rows[:, 0], jnp.exp(-gaps)

    posterior = gaussian_functions(
        prior, 500, to_logits=lambda f: jnp.concatenate([0 * f, f], -1)
    )
    found = jax.nn.softmax(posterior.predict(KEY, {}, inputs).logits)[:, 1]
    noise = np.random.default_rng(0).normal(size=100_000)
    values = 5 * np.asarray(inputs) + noise[None]
    expected = (1 / (1 + np.exp(-values))).mean(-1)
    np.testing.assert_allclose(found, expected, atol=0.06)
    scaled = temperature_scaled(posterior, (inputs, (inputs[:, 0] > 0).astype(int)))
    assert scaled.is_joint
    with pytest.raises(ValueError, match="covariance of all rows"):
        gaussian_functions(lambda state, x: (x[:, 0], x[:, 0] ** 2)).sample(
            KEY, {}, inputs
        )
