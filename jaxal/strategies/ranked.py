"""Strategies that rank rows by a score of each: a score and a line."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array

from jaxal import scores
from jaxal.readings import Reading, features, logits, reading, samples
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

    def rowwise(view: View) -> Array:
        return score(*(one.of(None, view) for one in readings))

    def utility(key: Array, view: View) -> Array:
        del key
        return rowwise(view) if view.rows is None else view.rows

    def select(key: Array, view: View, batch_size: int) -> Selection:
        worth = utility(key, view)
        return selector(
            key, worth, view.is_available, batch_size=batch_size, **settings
        )

    streams = frozenset[str]().union(*(one.needs for one in readings))
    return stateless((), select, streams, rowwise, utility)


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


@register(
    "least_confidence",
    is_deterministic=True,
    family="uncertainty",
    cost="O(N C)",
    budget="many labels",
)
def least_confidence() -> Strategy:
    """Returns the strategy that buys rows whose best class is least likely.

    Reference:
      Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR
      1994. https://arxiv.org/abs/cmp-lg/9407020
    """
    return by_score(scores.least_confidence)


@register(
    "margin",
    is_deterministic=True,
    family="uncertainty",
    cost="O(N C)",
    budget="many labels",
)
def margin() -> Strategy:
    """Returns the strategy that buys rows whose two best classes are closest.

    Reference:
      Scheffer, Decomain and Wrobel, "Active Hidden Markov Models for Information
      Extraction", IDA 2001. https://doi.org/10.1007/3-540-44816-0_31
    """
    return by_score(scores.margin)


@register(
    "entropy",
    is_deterministic=True,
    family="uncertainty",
    cost="O(N C)",
    budget="many labels",
)
def entropy() -> Strategy:
    """Returns the strategy that buys rows with the most uncertain prediction.

    Reference:
      Shannon, "A Mathematical Theory of Communication", 1948.
      https://doi.org/10.1002/j.1538-7305.1948.tb01338.x
    """
    return by_score(scores.entropy)


@register(
    "bald",
    is_deterministic=True,
    family="disagreement",
    cost="O(S N C)",
    budget="many labels",
)
def bald() -> Strategy:
    """Returns the strategy that buys rows the posterior's networks disagree on.

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017. https://arxiv.org/abs/1703.02910
    """
    return by_score(scores.bald, samples)


@register(
    "mean_std",
    is_deterministic=True,
    family="disagreement",
    cost="O(S N C)",
    budget="many labels",
)
def mean_std() -> Strategy:
    """Returns the strategy that buys rows whose probabilities vary most.

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017. https://arxiv.org/abs/1703.02910
    """
    return by_score(scores.mean_std, samples)


@register(
    "variation_ratio",
    family="disagreement",
    cost="O(S N C)",
    budget="many labels",
)
def variation_ratio() -> Strategy:
    """Returns the strategy that buys rows whose most frequent vote is rarest.

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017. https://arxiv.org/abs/1703.02910
    """
    return by_score(scores.variation_ratio, samples)


@register(
    "vote_entropy",
    family="committee",
    cost="O(S N C)",
    budget="many labels",
)
def vote_entropy() -> Strategy:
    r"""Returns query by committee with hard votes: the entropy of who names what.

    $-\sum_c \frac{V_c}{S} \log \frac{V_c}{S}$, where $V_c$ of S members rank class c
    first. With few members many rows tie.

    Reference:
      Engelson and Dagan, "Minimizing Manual Annotation Cost in Supervised Training from
      Corpora", ACL 1996. https://aclanthology.org/P96-1042. Query by committee: Seung,
      Opper and Sompolinsky, COLT 1992. https://doi.org/10.1145/130385.130417
    """
    return by_score(scores.vote_entropy, samples)


@register(
    "consensus_entropy",
    is_deterministic=True,
    family="committee",
    cost="O(S N C)",
    budget="many labels",
)
def consensus_entropy() -> Strategy:
    r"""Returns query by committee with soft votes: the entropy of the mean prediction.

    $H(\frac1S \sum_s p_s)$: high where the members disagree and where all are unsure.

    Reference:
      Settles, "Active Learning Literature Survey", 2009, section 3.2.
      https://minds.wisconsin.edu/handle/1793/60660
    """
    return by_score(scores.consensus_entropy, samples)


@register(
    "consensus_kl",
    is_deterministic=True,
    family="committee",
    cost="O(S N C)",
    budget="many labels",
)
def consensus_kl() -> Strategy:
    r"""Returns query by committee by divergence from the consensus.

    $\frac1S \sum_s \mathrm{KL}(p_s \,\|\, \frac1S \sum_t p_t)$: high only where the
    members disagree. The same number as BALD, which found it by another road.

    Reference:
      McCallum and Nigam, "Employing EM and Pool-Based Active Learning for Text
      Classification", ICML 1998.
      https://www.cs.cmu.edu/~knigam/papers/emactive-icml98.pdf
    """
    return by_score(scores.consensus_kl, samples)


@register(
    "expected_gradient_length",
    is_deterministic=True,
    family="gradients",
    cost="O(N (C + D))",
    budget="many labels",
)
def expected_gradient_length(*, bias: bool = True) -> Strategy:
    r"""Returns the strategy that buys rows whose label would move the network most.

    $\sum_c p_c \lVert \nabla \ell_c \rVert$ over the last layer, the label drawn from
    the network's own prediction.

    Args:
      bias: whether the last layer has a bias whose gradient counts.

    Reference:
      Settles, Craven and Ray, "Multiple-Instance Active Learning", NeurIPS 2007.
      https://papers.nips.cc/paper/2007/hash/a1519de5b5d44b31a01de013b9b51a80-Abstract.html
    """
    length = partial(scores.expected_gradient_length, bias=bias)
    return by_score(length, logits, features)
