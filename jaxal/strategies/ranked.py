"""Strategies that rank rows by a score of each: a score and a line."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array

from jaxal import scores
from jaxal.modes import any_promotion
from jaxal.readings import (
    Reading,
    derived,
    features,
    logits,
    needs_of,
    predictive,
    reading,
    reads_classes,
    samples,
)
from jaxal.registry import register
from jaxal.selection import top_k
from jaxal.types import Selection, Strategy, View, stateless


def by_score(
    score: Callable[..., Array],
    *of: Reading | str,
    selector: Callable[..., Selection] = top_k,
    **settings: Any,
) -> Strategy:
    """Returns the strategy that buys the rows with the highest score.

    Args:
      score: from `[B, C]` logits (or `[S, B, C]` samples, or `[B, D]` features; or from
        several of these) to `[B]`, higher being more worth labelling.
      *of: what it reads, readings or their names; logits by default.
      selector: what buys by scores, such as `softmax_top_k`.
      **settings: of the selector.

    Returns:
      A `Strategy` whose score is computed while the pool streams past, so that
      `[S, N, C]` is never held.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import View, by_score, margin
      >>> logits = jnp.array([[3.0, 0.0], [0.1, 0.0], [0.0, 9.0]])
      >>> view = View(jnp.ones(3, bool), jnp.zeros(3, bool), logits=logits)
      >>> by_score(margin).select(jax.random.key(0), view, 1).indices
      Array([1], dtype=int32)
    """
    readings = tuple(map(reading, of)) or (logits,)

    @any_promotion
    def rowwise(view: View) -> Array:
        return score(*(one.of(None, view) for one in readings))

    def utility(key: Array, view: View) -> Array:
        del key
        return rowwise(view) if view.rows is None else view.rows

    @any_promotion
    def select(key: Array, view: View, batch_size: int) -> Selection:
        worth = utility(key, view)
        return selector(
            key, worth, view.is_available, batch_size=batch_size, **settings
        )

    of_classes = reads_classes(score, readings)
    return stateless((), select, needs_of(readings), rowwise, utility, of_classes)


def scored(score: Callable[..., Array], *of: Reading) -> Callable[..., Strategy]:
    """Returns the factory of `by_score` whose settings are the score's own.

    Args:
      score: whose docstring describes the strategy.
      *of: what it reads, logits by default.

    Example:
      >>> import inspect
      >>> from jaxal import expected_gradient_length
      >>> from jaxal.strategies.ranked import scored
      >>> str(inspect.signature(scored(expected_gradient_length)))
      '(*, bias: bool = True)'
    """

    def make(**settings: Any) -> Strategy:
        return by_score(partial(score, **settings), *of)

    return derived(make, score)


@register(
    "random",
    family="baseline",
    cost="O(N)",
)
def random() -> Strategy:
    """Returns the strategy that draws rows uniformly: the baseline of every study."""

    def utility(key: Array, view: View) -> Array:
        return jax.random.uniform(jax.random.split(key)[0], view.is_available.shape)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        ties, noise = jax.random.split(key)[1], utility(key, view)
        return top_k(ties, noise, view.is_available, batch_size=batch_size)

    return stateless((), select, utility=utility)


def _ranked(score: Callable[..., Array], *of: Reading, **facts: Any) -> None:
    """Registers a score under its own name."""
    usual = {"is_deterministic": True, "budget": "many labels"}
    register(score.__name__, scored(score, *of), **{**usual, **facts})


_ranked(scores.least_confidence, family="uncertainty", cost="O(N C)")
_ranked(scores.margin, family="uncertainty", cost="O(N C)")
_ranked(scores.entropy, family="uncertainty", cost="O(N C)")
_ranked(scores.bald, samples, family="disagreement", cost="O(S N C)")
_ranked(scores.mean_std, samples, family="disagreement", cost="O(S N C)")
_votes = {"cost": "O(S N C)", "is_deterministic": False}  # which tie
_ranked(scores.variation_ratio, samples, family="disagreement", **_votes)
_ranked(scores.vote_entropy, samples, family="committee", **_votes)
_ranked(scores.consensus_entropy, samples, family="committee", cost="O(S N C)")
_ranked(scores.consensus_kl, samples, family="committee", cost="O(S N C)")
_ranked(
    scores.expected_gradient_length,
    logits,
    features,
    family="gradients",
    cost="O(N (C + D))",
)


@register(
    "mc_margin",
    is_deterministic=True,
    family="uncertainty, averaged",
    cost="O(S N C)",
    budget="many labels",
)
def mc_margin() -> Strategy:
    """Returns the margin of the posterior's predictive distribution.

    Of the mean over dropout masks, members or draws, where `margin` reads the one
    network without chance.

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017. https://arxiv.org/abs/1703.02910
    """
    return by_score(scores.margin, predictive)


@register(
    "mc_entropy",
    is_deterministic=True,
    family="uncertainty, averaged",
    cost="O(S N C)",
    budget="many labels",
)
def mc_entropy() -> Strategy:
    """Returns the entropy of the posterior's predictive distribution.

    As `mc_margin`. With MC dropout this is `max entropy` of the paper.

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017. https://arxiv.org/abs/1703.02910
    """
    return by_score(scores.entropy, predictive)
