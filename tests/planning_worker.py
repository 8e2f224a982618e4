"""Looks at a pool and chooses, in a process of its own, and says what memory it took.

On as many devices as there are: what they hold lies in one process, and adds up.

python -m tests.planning_worker rows features batch_size margin badge ...
"""

import contextlib
import json
import sys

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from jaxal.planning.memory import size_of
from jaxal.pools.mesh import pool_mesh
from jaxal.posteriors.dropout import mc_dropout
from jaxal.strategies import strategy
from jaxal.types import Pool
from jaxal.viewing import Looked, make_look
from tests.peak_memory import peak, reset_peak
from tests.toys import linear

CLASSES, SAMPLES = 10, 4


def make_pool(rows, features):
    # Rows no two of which are equal, made in one go so that nothing else is held.
    inputs = jnp.sin(jnp.arange(rows * features, dtype=jnp.float32) ** 1.5)
    nobody = jnp.zeros(rows, bool)
    labels = jnp.full(rows, -1, jnp.int32)
    return Pool(inputs.reshape(rows, features), labels, nobody, ~nobody)


def measure(name, rows, features, batch_size):
    """Returns bytes at the worst moment of a round, compiling left out."""
    mesh = pool_mesh() if jax.device_count() > 1 else None
    spread, same = (
        None if mesh is None else NamedSharding(mesh, spec)
        for spec in (PartitionSpec("pool"), PartitionSpec())
    )
    model, chosen, key = linear(CLASSES, 0.1), strategy(name), jax.random.key(0)
    variables = jax.device_put(model.init(key, jnp.zeros([1, features])), same)
    look = make_look(mc_dropout(model, SAMPLES), chosen, 1024, mesh)

    def shapes_of(fn, *args):
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=spread),
            jax.eval_shape(fn, *args),
        )

    make = jax.jit(make_pool, static_argnums=(0, 1), out_shardings=spread)
    make_jit = make.lower(rows, features).compile()
    shapes = shapes_of(lambda: make_pool(rows, features))
    look_jit = jax.jit(look, out_shardings=mesh and Looked(spread, *[same] * 4))
    look_jit = look_jit.lower(key, variables, shapes).compile()
    view = shapes_of(lambda *args: look(*args).view, key, variables, shapes)
    choose = jax.jit(lambda key, view: chosen.select(key, view, batch_size))
    with jax.set_mesh(mesh) if mesh else contextlib.nullcontext():
        choose_jit = choose.lower(key, view).compile()
    before = reset_peak()
    pool = make_jit()
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
