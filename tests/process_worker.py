"""One of several processes of a test: `process_worker.py JOB FOLDER`.

It finds the others as it would on a cluster, from variables of the environment.
"""

import json
import os
import pathlib
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.cluster import (
    advice_on_lost_process,
    make_pool_from_process_data,
    process_rows,
    shard_process_rows,
)
from jaxal.embeddings import Dense, Outer
from jaxal.learner import supervised
from jaxal.loop import LoopState, active_learner
from jaxal.oracles import array_oracle
from jaxal.selection import gumbel_top_k, k_center, k_means_plus_plus, top_k
from jaxal.strategies import coreset

BATCH = 24
ROUNDS = 4


def select(rows: dict[str, jax.Array], left_out: str) -> dict[str, list[int]]:
    """Runs the selectors on a pool's rows and returns what each picks."""
    features, free = rows["features"], rows["is_available"]
    centres, scores = rows["is_labelled"], rows["scores"]
    badge = Outer(rows["residuals"], features)
    arguments = {
        "top_k": (top_k, scores, free),
        "gumbel_top_k": (gumbel_top_k, scores, free),
        "k_center": (k_center, features, free, centres),
        "dense": (k_means_plus_plus, Dense(features), free),
        "outer": (k_means_plus_plus, badge, free),
    }
    arguments.pop(left_out, None)
    key = jax.random.key(3)
    return {
        name: selector(key, *args, batch_size=BATCH).indices.tolist()
        for name, (selector, *args) in arguments.items()
    }


def read_rows(folder: pathlib.Path, num_rows: int) -> dict[str, jax.Array]:
    """Reads the rows of this process, and nothing else."""
    mine = process_rows(num_rows)
    files = sorted(folder.glob("*.npy"))
    rows = {f.stem: np.array(np.load(f, mmap_mode="r")[mine]) for f in files}
    return shard_process_rows(rows, num_rows)


def run_rounds(folder: pathlib.Path, num_rows: int, dies_in: int | None) -> None:
    """A run that can be continued: process 0 writes what the next start needs."""
    from tests.toys import linear  # counts devices, which only start when joined up

    mine = process_rows(num_rows)
    inputs = np.load(folder / "features.npy", mmap_mode="r")
    classes = np.load(folder / "classes.npy")
    pool = make_pool_from_process_data(np.array(inputs[mine]), num_rows=num_rows)
    model = linear(3)
    loop = active_learner(
        model,
        supervised(model, epochs=2, capacity=64),
        coreset(),
        array_oracle(jnp.asarray(classes)),
        batch_size=5,
    )
    state, saved = loop.init(jax.random.key(0), pool), folder / "state.npz"
    if saved.exists():
        state = restored(state, np.load(saved), num_rows)
    for index in range(int(state.round), ROUNDS):
        if index == dies_in and jax.process_index() == jax.process_count() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        state, _ = loop.step(jax.random.key(index), state)
        save(saved, state, num_rows)
    print(json.dumps({"labels": whole(state.pool.labels)[:num_rows].tolist()}))


def whole(array: jax.Array) -> np.ndarray:
    """Copies an array that is spread over processes to each of them."""
    mesh = array.sharding.mesh
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return np.asarray(jax.jit(lambda x: x, out_shardings=everywhere)(array))


def save(path: pathlib.Path, state: LoopState, num_rows: int) -> None:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state.learner)]
    labels = whole(state.pool.labels)[:num_rows]
    if jax.process_index() == 0:
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, *leaves, labels=labels, round=state.round)
        partial.replace(path)


def restored(state: LoopState, saved: dict, num_rows: int) -> LoopState:
    labels = saved["labels"][process_rows(num_rows)]
    known = shard_process_rows({"is": labels >= 0, "labels": labels}, num_rows)
    pool = state.pool._replace(
        labels=jnp.where(state.pool.is_valid, known["labels"], -1),
        is_labelled=known["is"],
    )
    leaves, tree = jax.tree.flatten(state.learner)
    leaves = [
        jax.device_put(saved[f"arr_{i}"], leaf.sharding)
        for i, leaf in enumerate(leaves)
    ]
    learner = jax.tree.unflatten(tree, leaves)
    return LoopState(pool, learner, jnp.int32(saved["round"]))


def main() -> None:
    job, folder, num_rows = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    timeout = int(os.environ.get("HEARTBEAT_TIMEOUT", "100"))
    jax.distributed.initialize(
        heartbeat_timeout_seconds=timeout, shutdown_timeout_seconds=timeout
    )
    with advice_on_lost_process():
        if job == "select":
            left_out = os.environ.get("LEFT_OUT", "")
            print(json.dumps(select(read_rows(folder, num_rows), left_out)))
        else:
            dies_in = os.environ.get("DIES_IN")
            run_rounds(folder, num_rows, None if dies_in is None else int(dies_in))


if __name__ == "__main__":
    main()
