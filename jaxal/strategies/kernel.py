"""Batch methods of Bayesian and kernel regression, on gradients of the last layer."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.embeddings import (
    Dense,
    Embedding,
    as_embedding,
    gradient_embedding,
    random_projection,
)
from jaxal.selection.spread.frank_wolfe import frank_wolfe as select_by_frank_wolfe
from jaxal.selection.spread.lcmd import lcmd as select_by_lcmd
from jaxal.selection.spread.max_det import max_det as select_by_max_det
from jaxal.strategies.fields import field
from jaxal.types import Selection, Strategy, View

NUM_DIMS = 512
_KINDS = ("gradients", "features")


def lcmd(*, of: str = "gradients") -> Strategy:
    """Returns LCMD: the farthest row of the largest cluster around what is labelled.

    Args:
      of: "gradients", BADGE's gradient embedding with the predicted class as label, or
        "features". The paper, on regression, uses gradients of the network's output,
        projected at random; here they are those of the loss and need no projection.

    Returns:
      A `Strategy` that needs features, and logits for gradients.

    Raises:
      ValueError: `of` is neither.

    Example:
      >>> from jaxal.strategies import lcmd
      >>> sorted(lcmd().needs), sorted(lcmd(of="features").needs)
      (['features', 'logits'], ['features'])

    Reference:
      Holzmueller et al., "A Framework and Benchmark for Deep Batch Active Learning for
      Regression", JMLR 2023. https://arxiv.org/abs/2203.09410
    """
    needs = kind_needs(of)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        rows = rows_of_kind(view, of)
        return select_by_lcmd(
            key, rows, view.is_available, view.is_labelled, batch_size=batch_size
        )

    return Strategy(needs, select)


def max_det(
    *, of: str = "gradients", noise: float = 0.1, num_dims: int = NUM_DIMS
) -> Strategy:
    """Returns MaxDet: rows uncertain given the labelled ones, and given each other.

    Rows are projected to `num_dims` random coordinates and divided by the root of
    their mean squared norm, so that `noise` has a meaning. (The authors divide by that
    of the labelled rows.)

    Args:
      of: "gradients", BADGE's gradient embedding with the predicted class as label, or
        "features". The paper uses gradients of the network's output.
      noise: standard deviation of a label; the default is the authors' code's.
      num_dims: random coordinates kept of gradients; features are taken as they are.

    Returns:
      A `Strategy` that needs features, and logits for gradients.

    Raises:
      ValueError: `of` is neither.

    Example:
      >>> from jaxal.strategies import max_det
      >>> sorted(max_det().needs)
      ['features', 'logits']

    Reference:
      Holzmueller et al., "A Framework and Benchmark for Deep Batch Active Learning for
      Regression", JMLR 2023. https://arxiv.org/abs/2203.09410
    """
    needs = kind_needs(of)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_rows, key_select = jax.random.split(key)
        rows = written_out(key_rows, rows_of_kind(view, of), num_dims)
        is_used = view.is_available | view.is_labelled
        return select_by_max_det(
            key_select,
            _of_unit_mean(rows, is_used),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            noise=noise,
        )

    return Strategy(needs, select)


def frank_wolfe(*, of: str = "gradients") -> Strategy:
    """Returns Frank-Wolfe: a batch whose weighted sum stands for the pool's.

    Args:
      of: "gradients", BADGE's gradient embedding with the predicted class as label, or
        "features". The paper sums log-likelihoods of a Bayesian last layer; the
        gradient of the loss is their first-order form at the trained network.

    Returns:
      A `Strategy` that needs features, and logits for gradients.

    Raises:
      ValueError: `of` is neither.

    Example:
      >>> from jaxal.strategies import frank_wolfe
      >>> sorted(frank_wolfe().needs)
      ['features', 'logits']

    Reference:
      Pinsler et al., "Bayesian Batch Active Learning as Sparse Subset Approximation",
      NeurIPS 2019. https://arxiv.org/abs/1908.02144
    """
    needs = kind_needs(of)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        rows = rows_of_kind(view, of)
        return select_by_frank_wolfe(
            key, rows, view.is_available, view.is_labelled, batch_size=batch_size
        )

    return Strategy(needs, select)


def kind_needs(of: str) -> frozenset[str]:
    """Returns the fields of the view that rows of a kind are made of."""
    if of not in _KINDS:
        raise ValueError(f"of is {of!r}, expected one of {_KINDS}.")
    return frozenset({"logits", "features"} if of == "gradients" else {"features"})


def rows_of_kind(view: View, of: str, bias: bool = False) -> Embedding:
    """Returns the gradient embedding of a view, or its features."""
    features = field(view, "features")
    if of == "features":
        return as_embedding(features)
    return _gradients(field(view, "logits"), features, bias)


_gradients = jax.jit(
    lambda logits, features, bias: gradient_embedding(logits, features, bias=bias),
    static_argnums=2,
)


@partial(jax.jit, static_argnums=2)
def written_out(key: Array, rows: Embedding, num_dims: int) -> Dense:
    """Returns rows written out: as they are, or a few random coordinates of each."""
    return rows if isinstance(rows, Dense) else random_projection(key, rows, num_dims)


@jax.jit
def _of_unit_mean(rows: Dense, is_used: Array) -> Dense:
    """Returns rows whose squared norm is 1 on average over the used ones."""
    total = jnp.sum(jnp.where(is_used, rows.sqnorm(), 0))
    mean = total / jnp.maximum(jnp.sum(is_used), 1)
    scale = jnp.where(mean > 0, 1 / jnp.sqrt(jnp.where(mean > 0, mean, 1)), 0)
    return Dense(rows.x * scale)
