"""A variational autoencoder of small images, plain, and how it is trained.

Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014,
https://arxiv.org/abs/1312.6114): pixels are shares of white, codes normal.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array


class Autoencoder(nn.Module):
    """A variational autoencoder of flat images, one hidden layer either way."""

    latent: int
    pixels: int
    width: int = 512

    def setup(self) -> None:
        self.reader, self.code = nn.Dense(self.width), nn.Dense(2 * self.latent)
        self.writer, self.image = nn.Dense(self.width), nn.Dense(self.pixels)

    def encode(self, x: Array) -> tuple[Array, Array]:
        """Returns mean and log-variance `[B, D]` of the code of `[B, P]` in [0, 1]."""
        mean, log_variance = jnp.split(self.code(nn.relu(self.reader(x))), 2, axis=-1)
        return mean, log_variance

    def decode(self, code: Array) -> Array:
        """Returns logits of pixels, `[B, P]`."""
        return self.image(nn.relu(self.writer(code)))

    def __call__(self, x: Array, key: Array) -> Array:
        """Returns minus the evidence lower bound of each image, `[B]` nats."""
        mean, log_variance = self.encode(x)
        noise = jax.random.normal(key, mean.shape)
        logits = self.decode(mean + jnp.exp(0.5 * log_variance) * noise)
        error = optax.sigmoid_binary_cross_entropy(logits, x).sum(-1)
        divergence = mean**2 + jnp.exp(log_variance) - log_variance - 1
        return error + 0.5 * divergence.sum(-1)


def best_of_epochs(
    loss: Callable[[Any, Array, Array], Array],
    key: Array,
    params: Any,
    rows: Array,
    held_out: Array,
    *,
    epochs: int,
    batch_size: int = 128,
    rate: float = 1e-3,
) -> Any:
    """Returns what Adam makes of parameters, after the epoch that held-out rows prefer.

    Args:
      loss: from parameters, a key and rows `[B, ...]` to a mean.
      key: consumed.
      params: to begin with.
      rows: `[N, ...]` to learn from.
      held_out: `[V, ...]` to choose by.
      epochs: at most.
      batch_size: rows of a step.
      rate: of learning.
    """
    optimizer, num_steps = optax.adam(rate), max(len(rows) // batch_size, 1)
    key, key_judge = jax.random.split(key)

    @jax.jit
    def epoch(key: Array, params: Any, state: Any) -> Any:
        key_order, *keys = jax.random.split(key, num_steps + 1)
        order = jax.random.permutation(key_order, len(rows))
        order = order[: num_steps * batch_size].reshape(num_steps, -1)

        def step(carry: Any, part: Any) -> Any:
            params, state = carry
            gradient = jax.grad(loss)(params, part[0], rows[part[1]])
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), None

        carry, _ = jax.lax.scan(step, (params, state), (jnp.stack(keys), order))
        return *carry, loss(carry[0], key_judge, held_out)

    state, best, lowest = optimizer.init(params), params, np.inf
    for key_epoch in jax.random.split(key, epochs):
        params, state, found = epoch(key_epoch, params, state)
        if found < lowest:
            best, lowest = params, float(found)
    return best


def trained(
    key: Array, rows: Array, held_out: Array, *, latent: int, epochs: int
) -> Autoencoder:
    """Returns an autoencoder that is bound to what it has learned.

    Args:
      key: consumed.
      rows: `[N, P]` flat images in [0, 1].
      held_out: `[V, P]`, which choose among epochs.
      latent: numbers of a code, D.
      epochs: at most.
    """
    key_init, key_fit = jax.random.split(key)
    model = Autoencoder(latent, rows.shape[1])

    def loss(params: Any, key: Array, x: Array) -> Array:
        return model.apply(params, x, key).mean()

    params = jax.jit(model.init)(key_init, rows[:1], key_init)
    params = best_of_epochs(loss, key_fit, params, rows, held_out, epochs=epochs)
    return model.bind(params)
