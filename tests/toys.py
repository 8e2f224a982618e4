"""Small models and pools that tests of the loop share."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.types import Model, Output

DEVICE_COUNTS = [n for n in (1, 2, 4, 8) if n <= jax.device_count()]


def linear(num_classes: int = 2, dropout: float = 0.0) -> Model:
    """A linear classifier written by hand: no framework, and one feature vector."""

    def init(key, inputs):
        shape = (inputs.shape[-1], num_classes)
        weights = 0.01 * jax.random.normal(key, shape)
        return {"params": {"w": weights, "b": jnp.zeros(num_classes)}}

    def apply(variables, inputs, *, key=None, train=False):
        features = inputs.astype(jnp.float32)
        if key is not None and dropout:
            keep = jax.random.bernoulli(key, 1 - dropout, features.shape)
            features = jnp.where(keep, features / (1 - dropout), 0)
        params = variables["params"]
        logits = features @ params["w"] + params["b"][None]
        return Output(logits, features), variables

    return Model(init, apply)


def blobs(num_rows: int = 60, num_classes: int = 3, seed: int = 0):
    """Well separated clusters on a circle, and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_rows)
    angle = 2 * np.pi * labels / num_classes
    centres = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    inputs = centres + rng.normal(scale=0.5, size=centres.shape)
    return inputs.astype(np.float32), labels.astype(np.int32)
