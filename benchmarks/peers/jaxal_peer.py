"""jaxal itself: blocked exact k-means++ and k-center, and strategies by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import jaxal
from jaxal.pools.mesh import POOL_AXIS
from jaxal.pools.pool import pad_rows
from jaxal.selection import K_CENTER, K_MEANS_PLUS_PLUS, blocked_selection
from peers import NotOfferedError, Run, Task


def prepare(task: Task) -> Run:
    """Returns a run that also counts passes over the pool, in `run.facts`."""
    placed = {name: _place(values) for name, values in task.arrays.items()}
    features, logits = placed["features"], placed["logits"]
    num_rows, is_labelled = len(task.arrays["features"]), placed["is_labelled"]
    is_free = _place(~np.asarray(task.arrays["is_labelled"]))
    work, task_size = task.work, task.batch_size
    size = {"batch_size": task_size}
    del task  # `run` must not keep the arrays on disk mapped: they would count twice

    def badge(key: jax.Array) -> tuple:
        embedding = jaxal.gradient_embedding(logits, features)
        first = {"first": "largest_norm"}
        return blocked_selection(
            K_MEANS_PLUS_PLUS, key, embedding, is_free, **first, **size
        )

    def coreset(key: jax.Array) -> tuple:
        return blocked_selection(K_CENTER, key, features, is_free, is_labelled, **size)

    def ranked(key: jax.Array) -> tuple:
        scores = jaxal.entropy(logits)
        return jaxal.top_k(key, scores, is_free, **size), jnp.int32(1)

    works = {"badge": badge, "coreset": coreset, "ranked": ranked}
    if work not in works:
        view = jaxal.View(is_free, is_labelled, logits=logits, features=features)
        works[work] = _by_name(work, view, task_size)

    def run(seed: int) -> np.ndarray:
        selection, passes = works[work](jax.random.key(seed))
        picks = np.asarray(selection.indices)
        run.facts = {} if passes is None else {"passes": int(passes)}
        assert picks.max() < num_rows
        return picks

    run.facts = {}
    return run


def _by_name(name: str, view: jaxal.View, batch_size: int) -> Callable:
    """Returns a registered strategy's choice, whose passes are not counted."""
    if name not in jaxal.strategy_names():
        raise NotOfferedError(name)
    chosen = jaxal.strategy(name)
    select = jax.jit(lambda key, view: chosen.select(key, view, batch_size))
    return lambda key: (select(key, view), None)


def _place(values: np.ndarray) -> jax.Array:
    if jax.device_count() == 1:
        return jnp.asarray(values)
    mesh = jaxal.pool_mesh()
    padded = pad_rows(np.asarray(values), -(-len(values) // mesh.size) * mesh.size)
    return jax.device_put(padded, NamedSharding(mesh, PartitionSpec(POOL_AXIS)))
