"""Kernels between rows of an embedding."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.embeddings import Embedding, Scaled
from jaxal.selection.engine.distances import map_chunks, squared_distances

KernelName = Literal["rbf", "cosine", "linear"]
Bandwidth = float | Array | Literal["median", "nearest_labelled"]
KERNELS = ("rbf", "cosine", "linear")
BANDWIDTHS = ("median", "nearest_labelled")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Kernel:
    """A similarity of rows, as a pytree.

    "rbf" is `exp(-|x - y|^2 / bandwidth^2)`, "linear" `<x, y>`, and "cosine" one plus
    the cosine, halved: never negative, as submodular functions want it. It expects
    rows that `kernel_rows` has made.
    """

    bandwidth: Array  # []
    name: KernelName = dataclasses.field(metadata={"static": True})

    def __call__(self, x: Embedding, y: Embedding) -> Array:
        """Returns similarities `[N, M]`."""
        if self.name == "rbf":
            # Where all distances are zero there is no bandwidth, and no need for one.
            scale = jnp.maximum(jnp.square(self.bandwidth.astype(x.dtype)), 1e-30)
            return jnp.exp(-squared_distances(x, x.sqnorm(), y) / scale)
        products = x.inner(y)
        return products if self.name == "linear" else (1 + products) / 2

    def diagonal(self, x: Embedding) -> Array:
        """Returns the similarity of each row with itself, `[N]`."""
        if self.name == "rbf":
            return jnp.ones_like(x.sqnorm())
        return x.sqnorm() if self.name == "linear" else (1 + x.sqnorm()) / 2


def check_kernel(name: str, bandwidth: Bandwidth) -> None:
    """Raises ValueError unless there are such a kernel and such a bandwidth."""
    if name not in KERNELS:
        raise ValueError(f"kernel is {name!r}, expected one of {KERNELS}.")
    if isinstance(bandwidth, str) and bandwidth not in BANDWIDTHS:
        raise ValueError(
            f"bandwidth is {bandwidth!r}, expected a number or one of {BANDWIDTHS}."
        )


def kernel_rows(
    embedding: Embedding, name: KernelName, is_normalized: bool
) -> Embedding:
    """Returns the rows a kernel is to see: of unit length, but for "linear"."""
    if name == "linear" or (name == "rbf" and not is_normalized):
        return embedding
    norms = jnp.sqrt(map_chunks(embedding, lambda rows: rows.sqnorm()))
    factors = jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1), 0)
    return Scaled(embedding, factors)
