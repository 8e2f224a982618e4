"""SIMILAR: submodular information that a batch shares with rare classes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.embeddings import Embedding, Outer, as_embedding
from jaxal.modes import any_promotion
from jaxal.pools.mapping import either
from jaxal.readings import field, reading
from jaxal.registry import register
from jaxal.selection import facility_location, graph_cut, gumbel_top_k, log_determinant
from jaxal.types import Selection, Strategy, View, stateless

Function = Literal["facility_location", "graph_cut", "log_determinant"]
_SELECTORS: dict[str, Callable[..., Selection]] = {
    "facility_location": facility_location,
    "graph_cut": graph_cut,
    "log_determinant": log_determinant,
}


@register(
    "similar",
    family="rare classes, submodular",
    cost="O(M (N + K m) (C + D)), M queries",
)
def similar(
    *,
    classes: Sequence[int] | None = None,
    function: Function = "facility_location",
    of: str = "gradients_with_bias",
    num_queries: int = 1024,
) -> Strategy:
    """Returns SIMILAR for rare classes: rows like those labelled with one of them.

    The query is the labelled rows of the classes, and what is maximised the mutual
    information of the batch with it: FLQMI, GCMI or LogDetMI. A query's gradient is
    that at its label, a candidate's that at its predicted class. While no row of the
    classes is labelled, rows are drawn uniformly.

    Args:
      classes: the rare classes; None for the one with the fewest labelled rows so
        far, of those that have any.
      function: whose mutual information it is.
      of: what rows are; the paper's are gradients of the last layer and its bias.
      num_queries: rows of the query kept at most, those of lowest number.

    Raises:
      ValueError: a name is wrong, or no class was given.

    Reference:
      Kothawade et al., "SIMILAR: Submodular Information Measures Based Active Learning
      In Realistic Scenarios", NeurIPS 2021. https://arxiv.org/abs/2107.00717
    """
    rows_of = reading(of)
    if function not in _SELECTORS:
        known = ", ".join(_SELECTORS)
        raise ValueError(f"function is {function!r}, expected one of {known}.")
    if classes is not None and not classes:
        raise ValueError("classes is empty, expected the rare ones. Pass classes=(3,).")
    selector = _SELECTORS[function]

    @any_promotion
    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_select, key_draw = jax.random.split(key)
        rare = None if classes is None else tuple(int(number) for number in classes)
        rows = as_embedding(rows_of.of(key, view))
        query, is_query = _query(view, rows, rare, num_queries)
        free, size = view.is_available, batch_size
        best = selector(
            key_select, rows, free, batch_size=size, query=query, is_query=is_query
        )
        blank = jnp.zeros(free.shape, best.scores.dtype)
        drawn = gumbel_top_k(key_draw, blank, free, batch_size=size)
        return either(jnp.any(is_query), best, drawn)

    return stateless(rows_of.needs | {"labels"}, select, reads_classes=True)


def _query(
    view: View, pool: Embedding, classes: tuple[int, ...] | None, size: int
) -> tuple[Embedding, Array]:
    """Returns `[M]` labelled rows of the classes, and which of them are there."""
    labels, is_labelled = field(view, "labels"), view.is_labelled
    rows, is_there = _rare_rows(labels, is_labelled, classes, min(size, labels.size))
    query = pool.take(rows)
    if not isinstance(query, Outer):
        return query, is_there
    return _at_labels(query, field(view, "logits")[rows], labels[rows]), is_there


@partial(jax.jit, static_argnums=(2, 3))
def _rare_rows(
    labels: Array, is_labelled: Array, classes: tuple[int, ...] | None, size: int
) -> tuple[Array, Array]:
    wanted = _rarest(labels, is_labelled) if classes is None else jnp.asarray(classes)
    is_rare = is_labelled & jnp.isin(labels, wanted)
    (rows,) = jnp.nonzero(is_rare, size=size, fill_value=0)
    return rows, jnp.arange(size) < jnp.sum(is_rare)


def _rarest(labels: Array, is_labelled: Array) -> Array:
    """Returns the class of the fewest labelled rows, of those that have any, `[1]`."""
    num_rows = labels.size
    counts = jnp.bincount(jnp.where(is_labelled, labels, num_rows), length=num_rows)
    return jnp.argmin(jnp.where(counts > 0, counts, num_rows + 1))[None]


@jax.jit
def _at_labels(query: Outer, logits: Array, labels: Array) -> Outer:
    """Returns gradients at the label instead of the predicted class."""
    probs = jax.nn.softmax(logits.astype(query.a.dtype), axis=-1)
    return Outer(probs - jax.nn.one_hot(labels, logits.shape[-1]), query.h)
