"""Kernels between rows of an embedding, and what selectors ask of the rows."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.embeddings import Dense, Embedding, Scaled, as_embedding
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
            scale = jnp.maximum(jnp.square(self.bandwidth), 1e-30)
            return jnp.exp(-squared_distances(x, x.sqnorm(), y) / scale)
        products = x.inner(y)
        return products if self.name == "linear" else (1 + products) / 2

    def diagonal(self, x: Embedding) -> Array:
        """Returns the similarity of each row with itself, `[N]`."""
        if self.name == "rbf":
            return jnp.ones_like(x.sqnorm())
        return x.sqnorm() if self.name == "linear" else (1 + x.sqnorm()) / 2


class Rows(NamedTuple):
    """What a selector is given of the rows of the pool."""

    embedding: Embedding  # [N]
    is_available: Array  # [N]
    is_labelled: Array | None  # [N]


def check_rows(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None,
    batch_size: int,
) -> Rows:
    """Returns the rows, or raises where a shape or a dtype is wrong."""
    checks.check_key(key)
    embedding = as_embedding(embedding)
    checks.check_mask("is_available", is_available, embedding.num_rows)
    if is_labelled is not None:
        checks.check_mask("is_labelled", is_labelled, embedding.num_rows)
    checks.check_batch_size(batch_size, embedding.num_rows)
    return Rows(embedding, is_available, is_labelled)


def check_written(rows: Embedding) -> Dense:
    """Returns the rows, or raises TypeError unless they are written out."""
    if not isinstance(rows, Dense):
        raise TypeError(
            f"embedding is {type(rows).__name__}, expected Dense where labelled rows "
            "are known. Use random_projection to write down a few coordinates."
        )
    return rows


def used_rows(rows: Rows) -> Array:
    """Returns which rows are available or labelled, `[N]` bool."""
    if rows.is_labelled is None:
        return rows.is_available
    return rows.is_available | rows.is_labelled


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
