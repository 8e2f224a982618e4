"""Pools to select from, made on the device: features around centres, and logits."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

import jaxal
from accelerator.scales import PoolSize

NOISE = 1.0  # standard deviation of a sample's logits around the mean's


def view_of(strategy: jaxal.Strategy, size: PoolSize, seed: int = 0) -> jaxal.View:
    """Returns a view with just what a strategy names, ready on the device."""
    names = strategy.needs | strategy.streams
    features, logits, classes = _rows(jax.random.key(seed), size)
    # Spread evenly: which rows are labelled is not what is measured.
    rows = jnp.arange(size.rows)
    is_labelled = rows * size.labelled // size.rows != (rows + 1) * size.labelled // (
        size.rows
    )
    found = {"features": features, "inputs": features, "logits": logits}
    found["labels"] = jnp.where(is_labelled, classes, -1).astype(jnp.int32)
    if "samples" in names:
        found["samples"] = _samples(jax.random.key(seed + 1), logits, size.samples)
    fields = {name: found[name] for name in names}
    return jax.block_until_ready(jaxal.View(~is_labelled, is_labelled, **fields))


@partial(jax.jit, static_argnums=1)  # else copies as large as the pool would pile up
def _rows(key: Array, size: PoolSize) -> tuple[Array, Array, Array]:
    rows, centres, cluster, weights = jax.random.split(key, 4)
    shape = (size.rows, size.features)
    middle = 3 * jax.random.normal(centres, (size.clusters, size.features))
    member = jax.random.randint(cluster, size.rows, 0, size.clusters)
    features = middle[member] + jax.random.normal(rows, shape)
    head = jax.random.normal(weights, (size.features, size.classes))
    logits = features @ (head * (1.3 / size.features**0.5))
    return features, logits, member % size.classes


@partial(jax.jit, static_argnums=2)
def _samples(key: Array, logits: Array, num_samples: int) -> Array:
    shape = (num_samples, *logits.shape)
    return logits[None] + NOISE * jax.random.normal(key, shape)
