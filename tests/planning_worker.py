"""Looks at a pool and chooses, in a process of its own, and says what memory it took.

python -m tests.planning_worker rows features batch_size margin badge ...
"""

import json
import sys

import jax
import jax.numpy as jnp

from jaxal.planning.memory import size_of
from jaxal.posterior import deterministic
from jaxal.strategies import strategy
from jaxal.types import Pool
from jaxal.viewing import make_look
from tests.peak_memory import peak, reset_peak
from tests.toys import linear

CLASSES = 10


def make_pool(rows, features):
    # Rows no two of which are equal, made in one go so that nothing else is held.
    inputs = jnp.sin(jnp.arange(rows * features, dtype=jnp.float32) ** 1.5)
    nobody = jnp.zeros(rows, bool)
    labels = jnp.full(rows, -1, jnp.int32)
    return Pool(inputs.reshape(rows, features), labels, nobody, ~nobody)


def measure(name, rows, features, batch_size):
    """Returns bytes at the worst moment of a round, compiling left out."""
    model, chosen, key = linear(CLASSES), strategy(name), jax.random.key(0)
    variables = model.init(key, jnp.zeros([1, features]))
    look = make_look(deterministic(model), chosen, 1024, None)
    make = jax.jit(make_pool, static_argnums=(0, 1)).lower(rows, features).compile()
    shapes = jax.eval_shape(lambda: make_pool(rows, features))
    look_jit = jax.jit(look).lower(key, variables, shapes).compile()
    view = jax.eval_shape(look, key, variables, shapes).view
    choose = jax.jit(lambda key, view: chosen.select(key, view, batch_size))
    choose_jit = choose.lower(key, view).compile()
    before = reset_peak()
    pool = make()
    looked = look_jit(key, variables, pool)
    picks = choose_jit(key, looked.view)
    assert picks.is_valid.all()
    assert size_of(looked.view) == size_of(view)
    return peak() - before


def main(rows, features, batch_size, *names):
    sizes = (int(rows), int(features), int(batch_size))
    print(json.dumps({name: measure(name, *sizes) for name in names}))


if __name__ == "__main__":
    main(*sys.argv[1:])
