"""The autoencoder: its bound is that of the formula, its epoch what others prefer."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import autoencoder


def test_the_bound_is_that_of_the_formula():
    model, rng = autoencoder.Autoencoder(2, 5, width=3), np.random.default_rng(0)
    shapes = {"reader": (5, 3), "code": (3, 4), "writer": (2, 3), "image": (3, 5)}
    params = {
        name: {"kernel": rng.normal(size=s), "bias": rng.normal(size=s[1])}
        for name, s in shapes.items()
    }
    dense = lambda name, x: x @ params[name]["kernel"] + params[name]["bias"]  # noqa: E731
    x, key = rng.uniform(size=(6, 5)), jax.random.key(3)
    code = dense("code", np.maximum(dense("reader", x), 0))
    mean, variance = code[:, :2], np.exp(code[:, 2:])
    noise = np.asarray(jax.random.normal(key, (6, 2)), float)
    z = mean + np.sqrt(variance) * noise
    shown = 1 / (1 + np.exp(-dense("image", np.maximum(dense("writer", z), 0))))
    likelihood = (x * np.log(shown) + (1 - x) * np.log(1 - shown)).sum(-1)
    divergence = 0.5 * (mean**2 + variance - np.log(variance) - 1).sum(-1)
    weights = {"params": jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), params)}
    found = model.apply(weights, jnp.asarray(x, jnp.float32), key)
    np.testing.assert_allclose(found, divergence - likelihood, rtol=1e-4)


def test_held_out_rows_choose_the_epoch():
    """Training goes from 0 to 1, and on the way by what held-out rows are."""

    def loss(params, key, rows):
        return ((rows - params) ** 2).mean()

    rest = {"epochs": 60, "batch_size": 4, "rate": 0.05}
    parts = jnp.float32(0), jnp.ones(4), jnp.full(3, 0.5)
    found = autoencoder.best_of_epochs(loss, jax.random.key(0), *parts, **rest)
    np.testing.assert_allclose(found, 0.5, atol=0.03)
