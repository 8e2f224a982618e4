"""Submodular functions of the pool, and of what it shares with rare classes."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.embeddings import Embedding, Outer
from jaxal.selection.cover.facility_location import (
    facility_location as select_by_facilities,
)
from jaxal.selection.cover.graph_cut import graph_cut as select_by_graph_cut
from jaxal.selection.cover.log_determinant import (
    log_determinant as select_by_determinant,
)
from jaxal.selection.cover.max_herding import NUM_TARGETS
from jaxal.selection.ranked import gumbel_top_k
from jaxal.strategies.fields import field
from jaxal.strategies.kernel import NUM_DIMS, kind_needs, rows_of_kind, written_out
from jaxal.types import Selection, Strategy, View

Function = Literal["facility_location", "graph_cut", "log_determinant"]
_FUNCTIONS = ("facility_location", "graph_cut", "log_determinant")


def facility_location(
    *, of: str = "gradients", num_targets: int | None = NUM_TARGETS
) -> Strategy:
    """Returns facility location: rows that all others have a likeness of.

    Labelled rows count as chosen. Likeness is one plus the cosine, halved.

    Args:
      of: "gradients" of the last layer and its bias with the predicted class as
        label, as in the paper; or "features".
      num_targets: rows the sum is estimated on, None for all.

    Returns:
      A `Strategy` that needs features, and logits for gradients.

    Raises:
      ValueError: `of` is neither.

    Example:
      >>> from jaxal.strategies import facility_location
      >>> sorted(facility_location().needs)
      ['features', 'logits']

    Reference:
      Kothawade et al., "SIMILAR: Submodular Information Measures Based Active Learning
      In Realistic Scenarios", NeurIPS 2021. https://arxiv.org/abs/2107.00717
    """
    needs = kind_needs(of)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return select_by_facilities(
            key,
            rows_of_kind(view, of, bias=True),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            num_targets=num_targets,
        )

    return Strategy(needs, select)


def graph_cut(*, of: str = "gradients", trade_off: float = 1.0) -> Strategy:
    """Returns graph cut: rows like all others, and unlike those chosen.

    Args:
      of: as for `facility_location`.
      trade_off: what likeness to chosen rows costs.

    Returns:
      A `Strategy` that needs features, and logits for gradients.

    Raises:
      ValueError: `of` is neither.

    Example:
      >>> from jaxal.strategies import graph_cut
      >>> sorted(graph_cut(of="features").needs)
      ['features']

    Reference:
      Kothawade et al., "SIMILAR: Submodular Information Measures Based Active Learning
      In Realistic Scenarios", NeurIPS 2021. https://arxiv.org/abs/2107.00717
    """
    needs = kind_needs(of)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return select_by_graph_cut(
            key,
            rows_of_kind(view, of, bias=True),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            trade_off=trade_off,
        )

    return Strategy(needs, select)


def log_determinant(
    *, of: str = "gradients", ridge: float = 1.0, num_dims: int = NUM_DIMS
) -> Strategy:
    """Returns the log-determinant: rows unlike what is labelled, and each other.

    Args:
      of: as for `facility_location`.
      ridge: what the diagonal of similarities is raised by.
      num_dims: random coordinates kept of gradients; features are taken as they are.

    Returns:
      A `Strategy` that needs features, and logits for gradients.

    Raises:
      ValueError: `of` is neither.

    Example:
      >>> from jaxal.strategies import log_determinant
      >>> sorted(log_determinant().needs)
      ['features', 'logits']

    Reference:
      Kothawade et al., "SIMILAR: Submodular Information Measures Based Active Learning
      In Realistic Scenarios", NeurIPS 2021. https://arxiv.org/abs/2107.00717
    """
    needs = kind_needs(of)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_rows, key_select = jax.random.split(key)
        rows = rows_of_kind(view, of, bias=True)
        return select_by_determinant(
            key_select,
            written_out(key_rows, rows, num_dims),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            ridge=ridge,
        )

    return Strategy(needs, select)


def similar(
    *,
    classes: Sequence[int] | None = None,
    function: Function = "facility_location",
    of: str = "gradients",
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
      of: as for `facility_location`.
      num_queries: rows of the query kept at most, those of lowest number.

    Returns:
      A `Strategy` that needs features and labels, and logits for gradients.

    Raises:
      ValueError: a name is wrong, or no class was given.

    Example:
      >>> from jaxal.strategies import similar
      >>> sorted(similar(classes=(3, 7)).needs)
      ['features', 'labels', 'logits']

    Reference:
      Kothawade et al., "SIMILAR: Submodular Information Measures Based Active Learning
      In Realistic Scenarios", NeurIPS 2021. https://arxiv.org/abs/2107.00717
    """
    needs = kind_needs(of) | {"labels"}
    if function not in _FUNCTIONS:
        raise ValueError(f"function is {function!r}, expected one of {_FUNCTIONS}.")
    if classes is not None and not classes:
        raise ValueError("classes is empty, expected the rare ones. Pass classes=(3,).")
    selectors = (select_by_facilities, select_by_graph_cut, select_by_determinant)
    selector = selectors[_FUNCTIONS.index(function)]

    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_select, key_draw = jax.random.split(key)
        rare = None if classes is None else tuple(int(number) for number in classes)
        query, is_query = _query(view, of, rare, num_queries)
        rows = rows_of_kind(view, of, bias=True)
        free, size = view.is_available, batch_size
        best = selector(
            key_select, rows, free, batch_size=size, query=query, is_query=is_query
        )
        blank = jnp.zeros(free.shape, best.scores.dtype)
        drawn = gumbel_top_k(key_draw, blank, free, batch_size=size)
        has_query = jnp.any(is_query)
        return jax.tree.map(lambda b, d: jnp.where(has_query, b, d), best, drawn)

    return Strategy(needs, select)


def _query(
    view: View, of: str, classes: tuple[int, ...] | None, size: int
) -> tuple[Embedding, Array]:
    """Returns `[M]` labelled rows of the classes, and which of them are there."""
    labels, is_labelled = field(view, "labels"), view.is_labelled
    rows, is_there = _rare_rows(labels, is_labelled, classes, min(size, labels.size))
    query = rows_of_kind(view, of, bias=True).take(rows)
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
