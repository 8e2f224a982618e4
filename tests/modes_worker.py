"""A small loop: fit, look, select, tell; under whatever mode the environment sets.

Usage: modes_worker.py MODEL STRATEGY[,STRATEGY..] [wide] [unfit] [laplace],
with JAX's flags in the environment: float64 inputs, networks that are asked as they
were drawn, and samples of their last layer. Metrics of a class that is absent are
looked at, too.
"""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxal import active_learner, array_oracle, laplace, make_pool, strategy, supervised
from jaxal.models import from_linen, from_nnx, mlp


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        hidden = nn.relu(nn.Dense(8)(x))
        return nn.Dense(2)(nn.Dropout(0.5, deterministic=not train)(hidden))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.body, self.drop = nnx.Linear(3, 8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(nnx.relu(self.body(x))))


MODELS = {
    "mlp": lambda: mlp(2, hidden=(8,), dropout=0.5),
    "linen": lambda: from_linen(Linen()),
    "nnx": lambda: from_nnx(Nnx),
}


def a_loop(model, by, inputs, labels, posterior):
    learner = supervised(model, epochs=20, batch_size=8)
    oracle = array_oracle(labels)
    given = {"test": (inputs, 0 * labels), "posterior": posterior and posterior(model)}
    return active_learner(model, learner, strategy(by), oracle, batch_size=3, **given)


def in_phases(loop, key, state):
    """A round without a fit."""
    picks = loop.phases.choose(key, state, loop.phases.look(key, state))
    assert loop.phases.evaluate(key, state).accuracy <= 1
    assert picks.is_valid.all()
    return loop.tell(state, picks, np.asarray(picks.indices) % 2)


def main(name: str, strategies: str, *flags: str) -> None:
    dtype = np.float64 if "wide" in flags else np.float32
    inputs = np.random.default_rng(0).normal(size=(24, 3)).astype(dtype)
    labels = jnp.asarray(inputs[:, 0] > 0).astype(jnp.int32)
    model = MODELS[name]()
    for by in strategies.split(","):
        posterior = laplace if "laplace" in flags else None
        loop = a_loop(model, by, inputs, labels, posterior)
        state = loop.init(jax.random.key(0), make_pool(inputs), initial=10)
        for key in jax.random.split(jax.random.key(1)):
            if "unfit" in flags:
                state = in_phases(loop, key, state)
            else:
                state, info = loop.step(key, state)
                assert bool(info.fit.is_sound) and int(info.num_bad_rows) == 0, info
        rows = np.flatnonzero(np.asarray(state.pool.is_labelled))
        assert rows.size == 16 and state.pool.labels.dtype == jnp.int32
        assert state.pool.inputs.dtype == inputs.dtype
        print(by, rows.tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])
