"""Selects from feature files in a process of its own, and says what memory it took.

python -m tests.streaming_worker streamed|whole far,drawn,top,noisy,kept a.npy h.npy K
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.embeddings import Outer
from jaxal.selection import gumbel_top_k, k_center, k_means_plus_plus, top_k
from jaxal.streaming import (
    stream_gumbel_top_k,
    stream_k_center,
    stream_k_means_plus_plus,
    stream_reservoir,
    stream_top_k,
)
from tests.peak_memory import peak, reset_peak

KEY = jax.random.key(3)


def score(rows):
    return rows[:, 0] - rows[:, 1]


def weight(rows):
    return rows[:, 0]


def streamed(name, h, a, batch_size):
    """Returns a selection, and how often the pool was read for it."""
    kwargs = {"batch_size": batch_size, "chunk_size": 4096}
    if name == "far":
        return stream_k_center(KEY, h, **kwargs)
    if name == "drawn":
        return stream_k_means_plus_plus(KEY, Outer(a, h), **kwargs)
    if name == "kept":
        return stream_reservoir(KEY, h, weights=weight, **kwargs).selection, 1
    ranked = {"top": stream_top_k, "noisy": stream_gumbel_top_k}[name]
    return ranked(KEY, score, h, **kwargs), 1


def whole(name, h, a, batch_size):
    h, free, kwargs = jnp.asarray(h), jnp.ones(len(h), bool), {"batch_size": batch_size}
    if name == "far":
        return k_center(KEY, h, free, **kwargs), 0
    if name == "drawn":
        return k_means_plus_plus(KEY, Outer(jnp.asarray(a), h), free, **kwargs), 0
    if name == "kept":
        return gumbel_top_k(KEY, jnp.log(weight(h)), free, **kwargs), 0
    ranked = {"top": top_k, "noisy": gumbel_top_k}[name]
    return ranked(KEY, score(h), free, **kwargs), 0


def main(how, names, a_path, h_path, batch_size):
    work = {"streamed": streamed, "whole": whole}[how]
    names = names.split(",")
    a, h = (np.load(path, mmap_mode="r") for path in (a_path, h_path))
    if how == "streamed":  # what compiling takes does not grow with the pool
        empty = [np.broadcast_to(np.float32(1), x.shape) for x in (h, a)]
        for name in names:
            work(name, *empty, 2)
    found, before = {}, reset_peak()
    for name in names:
        selection, passes = work(name, h, a, int(batch_size))
        found[name] = {"rows": selection.indices.tolist(), "passes": passes}
    print(json.dumps({**found, "added": peak() - before, "resident": peak()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
