"""Strategies that rank rows by a score and take the best."""

from collections.abc import Callable

import jax
from jax import Array

from jaxal import scores
from jaxal.selection import top_k
from jaxal.strategies.fields import field
from jaxal.types import Selection, Strategy, View


def by_score(score: Callable[[Array], Array], of: str = "logits") -> Strategy:
    """Returns the strategy that buys the rows with the highest score.

    Args:
      score: from `[B, C]` logits (or `[S, B, C]` samples, or `[B, D]` features) to
        `[B]`, higher being more worth labelling.
      of: which field of the view it reads: "logits", "samples", "features", "inputs".

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

    def rowwise(view: View) -> Array:
        return score(field(view, of))

    def select(key: Array, view: View, batch_size: int) -> Selection:
        worth = rowwise(view) if view.rows is None else view.rows
        return top_k(key, worth, view.is_available, batch_size=batch_size)

    return Strategy(frozenset(), select, frozenset({of}), rowwise)


def random() -> Strategy:
    """Returns the strategy that draws rows uniformly: the baseline of every study.

    Example:
      >>> from jaxal.strategies import random
      >>> random().needs
      frozenset()
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_noise, key_ties = jax.random.split(key)
        noise = jax.random.uniform(key_noise, view.is_available.shape)
        return top_k(key_ties, noise, view.is_available, batch_size=batch_size)

    return Strategy(frozenset(), select)


def least_confidence() -> Strategy:
    """Returns the strategy that buys rows whose best class is least likely.

    Example:
      >>> from jaxal.strategies import least_confidence
      >>> sorted(least_confidence().streams)
      ['logits']

    Reference:
      Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR
      1994. https://arxiv.org/abs/cmp-lg/9407020
    """
    return by_score(scores.least_confidence)


def margin() -> Strategy:
    """Returns the strategy that buys rows whose two best classes are closest.

    Example:
      >>> from jaxal.strategies import margin
      >>> sorted(margin().streams)
      ['logits']

    Reference:
      Scheffer, Decomain and Wrobel, "Active Hidden Markov Models for Information
      Extraction", IDA 2001. https://doi.org/10.1007/3-540-44816-0_31
    """
    return by_score(scores.margin)


def entropy() -> Strategy:
    """Returns the strategy that buys rows with the most uncertain prediction.

    Example:
      >>> from jaxal.strategies import entropy
      >>> sorted(entropy().streams)
      ['logits']

    Reference:
      Shannon, "A Mathematical Theory of Communication", 1948.
      https://doi.org/10.1002/j.1538-7305.1948.tb01338.x
    """
    return by_score(scores.entropy)


def bald() -> Strategy:
    """Returns the strategy that buys rows the posterior's networks disagree on.

    Example:
      >>> from jaxal.strategies import bald
      >>> sorted(bald().streams)
      ['samples']

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017. https://arxiv.org/abs/1703.02910
    """
    return by_score(scores.bald, "samples")


def mean_std() -> Strategy:
    """Returns the strategy that buys rows whose probabilities vary most.

    Example:
      >>> from jaxal.strategies import mean_std
      >>> sorted(mean_std().streams)
      ['samples']

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017. https://arxiv.org/abs/1703.02910
    """
    return by_score(scores.mean_std, "samples")


def variation_ratio() -> Strategy:
    """Returns the strategy that buys rows whose most frequent vote is rarest.

    Example:
      >>> from jaxal.strategies import variation_ratio
      >>> sorted(variation_ratio().streams)
      ['samples']

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017. https://arxiv.org/abs/1703.02910
    """
    return by_score(scores.variation_ratio, "samples")
