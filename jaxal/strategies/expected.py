"""Strategies that ask what a label would do: to the loss, to the network, to others."""

from collections.abc import Callable

import jax
from jax import Array

from jaxal import scores
from jaxal.selection import top_k
from jaxal.strategies.fields import field
from jaxal.strategies.parts import check_positive, draw_rows, in_pool, with_bias
from jaxal.types import Selection, Strategy, View

_CHUNK_ELEMENTS = 1 << 24


def expected_gradient_length(*, bias: bool = True) -> Strategy:
    r"""Returns the strategy that buys rows whose label would move the network most.

    $\sum_c p_c \lVert \nabla \ell_c \rVert$ over the last layer, the label drawn from
    the network's own prediction.

    Args:
      bias: whether the last layer has a bias whose gradient counts.

    Returns:
      A `Strategy` that streams logits and features. Cost: `N (C + D)` operations.

    Example:
      >>> from jaxal.strategies import expected_gradient_length
      >>> sorted(expected_gradient_length().streams)
      ['features', 'logits']

    Reference:
      Settles, Craven and Ray, "Multiple-Instance Active Learning", NeurIPS 2007.
      https://papers.nips.cc/paper/2007/hash/a1519de5b5d44b31a01de013b9b51a80-Abstract.html
    """

    def rowwise(view: View) -> Array:
        pair = field(view, "logits"), field(view, "features")
        return scores.expected_gradient_length(*pair, bias=bias)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        worth = rowwise(view) if view.rows is None else view.rows
        return top_k(key, worth, view.is_available, batch_size=batch_size)

    return Strategy(frozenset(), select, frozenset({"logits", "features"}), rowwise)


def information_density(
    *,
    score: Callable[[Array], Array] = scores.entropy,
    exponent: float = 1.0,
) -> Strategy:
    r"""Returns density-weighted uncertainty: unsure rows that many others resemble.

    $\phi(n) \left(\frac1U \sum_u \mathrm{sim}(h_n, h_u)\right)^\beta$ over the U rows
    that may still be bought. An outlier is unsure too, and teaches nothing about
    others.

    Args:
      score: from `[B, C]` logits to `[B]`, not negative; the entropy by default.
      exponent: $\beta$, how much density counts; 1 is a choice made here.

    Returns:
      A `Strategy` that streams logits and needs features. Cost: `N (C + D)`
      operations: a mean of cosines is one cosine with the mean direction.

    Example:
      >>> from jaxal.strategies import information_density
      >>> sorted(information_density().needs)
      ['features']

    Reference:
      Settles and Craven, "An Analysis of Active Learning Strategies for Sequence
      Labeling Tasks", EMNLP 2008. https://aclanthology.org/D08-1112
    """

    def rowwise(view: View) -> Array:
        return score(field(view, "logits"))

    def select(key: Array, view: View, batch_size: int) -> Selection:
        plain = rowwise(view) if view.rows is None else view.rows
        worth = scores.information_density(
            plain,
            field(view, "features"),
            is_valid=view.is_available,
            exponent=exponent,
        )
        return top_k(key, worth, view.is_available, batch_size=batch_size)

    needs, streams = frozenset({"features"}), frozenset({"logits"})
    return Strategy(needs, select, streams, rowwise)


def expected_error_reduction(
    *,
    num_candidates: int = 512,
    num_targets: int = 512,
    loss: str = "log",
    prior_precision: float = 1.0,
    num_steps: int = 1,
    bias: bool = True,
) -> Strategy:
    """Returns the strategy that learns every answer and looks what it did to the rest.

    The last layer is retrained (`num_steps` Newton steps) on each candidate with each
    label; the candidates whose answers lower the expected loss of the other unlabelled
    rows most, weighted by how likely each answer is, are bought.
    Candidates and the rows whose loss counts are random subsets.

    Cost for B candidates, M targets and L labelled rows: `B C D (C D + C M)` and, once,
    `(C D)^2 (C D + L)` operations, and memory for a few matrices `[C D, C D]`: not for
    a thousand classes.

    Args:
      num_candidates: rows that are scored, B, drawn at random from the available ones;
        at least twice the batch is drawn, so that there is a choice.
      num_targets: available rows whose loss counts, M, drawn at random.
      loss: "log" (the entropy of the predictions) or "zero_one".
      prior_precision: how strongly the layer is held where it is, positive.
      num_steps: Newton steps of a retraining.
      bias: whether the last layer has a bias that is retrained too.

    Returns:
      A `Strategy` that needs logits, features and labels.

    Raises:
      ValueError: a number of rows is not positive.

    Example:
      >>> from jaxal.strategies import expected_error_reduction
      >>> sorted(expected_error_reduction().needs)
      ['features', 'labels', 'logits']

    Reference:
      Roy and McCallum, "Toward Optimal Active Learning through Sampling Estimation of
      Error Reduction", ICML 2001. https://dl.acm.org/doi/10.5555/645530.655646
    """
    check_positive(num_candidates=num_candidates, num_targets=num_targets)
    settings = (num_targets, loss, prior_precision, num_steps, bias)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        keys = jax.random.split(key, 3)
        num = max(num_candidates, 2 * batch_size)
        rows, is_real = draw_rows(keys[0], view.is_available, num)
        worth = _error_reduction(keys[1], view, rows, settings)
        picks = top_k(keys[2], worth, is_real, batch_size=batch_size)
        return in_pool(picks, rows, view.is_available)

    return Strategy(frozenset({"logits", "features", "labels"}), select)


def _error_reduction(key: Array, view: View, rows: Array, settings: tuple) -> Array:
    num_targets, loss, prior_precision, num_steps, bias = settings
    targets, is_target = draw_rows(key, view.is_available, num_targets)
    features = field(view, "features")
    num_classes = field(view, "logits").shape[1]
    # A candidate holds a layer for each answer, [C, C, D]: fewer at once if large.
    size = num_classes**2 * (features.shape[1] + 1)
    return scores.expected_error_reduction(
        field(view, "logits"),
        with_bias(features) if bias else features,
        field(view, "labels"),
        view.is_labelled,
        candidates=rows,
        targets=targets,
        is_target=is_target,
        loss=loss,
        num_steps=num_steps,
        prior_precision=prior_precision,
        chunk_size=max(1, min(32, _CHUNK_ELEMENTS // size)),
    )
