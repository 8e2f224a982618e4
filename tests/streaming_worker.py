"""Selects from feature files in a process of its own, and says what memory it took.

python -m tests.streaming_worker streamed|whole a.npy h.npy batch_size
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.embeddings import Outer
from jaxal.selection import k_center, k_means_plus_plus
from jaxal.streaming import stream_k_center, stream_k_means_plus_plus
from tests.peak_memory import peak, reset_peak


def streamed(h, a, batch_size):
    key, kwargs = jax.random.key(3), {"batch_size": batch_size, "chunk_size": 4096}
    far = stream_k_center(key, h, **kwargs)
    drawn = stream_k_means_plus_plus(key, Outer(a, h), **kwargs)
    passes = far.passes + drawn.passes
    return far.selection, drawn.selection, passes


def whole(h, a, batch_size):
    key, free = jax.random.key(3), jnp.ones(len(h), bool)
    kwargs = {"batch_size": batch_size}
    rows = Outer(jnp.asarray(a), jnp.asarray(h))
    far = k_center(key, rows.h, free, **kwargs)
    return far, k_means_plus_plus(key, rows, free, **kwargs), 0


def main(how, a_path, h_path, batch_size):
    work = {"streamed": streamed, "whole": whole}[how]
    a, h = (np.load(path, mmap_mode="r") for path in (a_path, h_path))
    if how == "streamed":  # what compiling takes does not grow with the pool
        work(*(np.broadcast_to(np.float32(0), x.shape) for x in (h, a)), 2)
    before = reset_peak()
    far, drawn, passes = work(h, a, int(batch_size))
    found = {
        "far": far.indices.tolist(),
        "drawn": drawn.indices.tolist(),
        "passes": passes,
        "bytes": peak() - before,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
