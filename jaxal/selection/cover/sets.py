"""The sets a submodular function may be told about: what is wanted, what is known."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxal.embeddings import Embedding, as_embedding
from jaxal.embeddings.compositions import Masked, unmasked
from jaxal.selection.engine.distances import map_chunks
from jaxal.selection.engine.kernels import Kernel, KernelName, kernel_rows


class Some(NamedTuple):
    """Rows of the pool's space, of which those of a mask are there."""

    rows: Embedding  # [M]
    is_there: Array  # [M]


class Sets(NamedTuple):
    """Rows that picks should be like, and rows that they should be unlike."""

    query: Some | None
    private: Some | None


def check_sets(
    embedding: Embedding,
    query: Array | Embedding | None,
    is_query: Array | None,
    private: Array | Embedding | None,
    is_private: Array | None,
) -> Sets:
    """Returns the sets, or raises where one is not of the embedding's kind."""
    return Sets(
        _some("query", embedding, query, is_query),
        _some("private", embedding, private, is_private),
    )


def refuse_both(sets: Sets) -> None:
    """Raises ValueError where a function takes one of the sets only."""
    if sets.query is not None and sets.private is not None:
        raise ValueError(
            "query and private were both passed, expected one of them: this function "
            "has no conditional mutual information. Use facility_location for both."
        )


def seen_sets(sets: Sets, name: KernelName, is_normalized: bool) -> Sets:
    """Returns the sets as a kernel is to see them."""

    def seen(some: Some | None) -> Some | None:
        if some is None:
            return None
        return Some(kernel_rows(some.rows, name, is_normalized), some.is_there)

    return Sets(seen(sets.query), seen(sets.private))


def over_set(
    combine: Callable[..., Array], kernel: Kernel, rows: Embedding, some: Some
) -> Array:
    """Returns the sum, or the maximum, of each row's similarities to a set, `[N]`."""

    def of_chunk(chunk: Embedding) -> Array:
        found = jnp.where(some.is_there[None], kernel(chunk, some.rows), 0)
        return combine(found, axis=-1)

    return map_chunks(rows, of_chunk)


def _some(
    name: str, embedding: Embedding, rows: Any, mask: Array | None
) -> Some | None:
    if rows is None:
        if mask is not None:
            raise ValueError(f"is_{name} was passed without {name}. Pass both.")
        return None
    rows, kind = as_embedding(rows), type(unmasked(embedding))
    if type(rows) is not kind:
        raise TypeError(
            f"{name} is {type(rows).__name__}, expected {kind.__name__} as the rows of "
            "the pool: similarities are taken between the two."
        )
    assert mask is not None  # the door has seen to it
    # Of one kind with the rows of the pool, of which some may be masked.
    return Some(Masked(rows, mask) if isinstance(embedding, Masked) else rows, mask)
