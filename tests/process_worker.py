"""One of several processes of a test: `process_worker.py FOLDER NUM_ROWS`.

It finds the others as it would on a cluster, from variables of the environment.
"""

import json
import os
import pathlib
import sys

import jax
import numpy as np

from jaxal.embeddings import Dense, Outer
from jaxal.pools.processes import process_rows, shard_process_rows
from jaxal.selection import gumbel_top_k, k_center, k_means_plus_plus, top_k

BATCH = 24


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


def main() -> None:
    folder, num_rows = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    jax.distributed.initialize()
    picks = select(read_rows(folder, num_rows), os.environ.get("LEFT_OUT", ""))
    print(json.dumps(picks))


if __name__ == "__main__":
    main()
