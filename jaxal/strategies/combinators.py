"""Strategies from strategies, by whose turn it is and by what has been picked."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.checks import check_positive
from jaxal.modes import any_promotion
from jaxal.readings import field
from jaxal.registry import register
from jaxal.selection import power_top_k, softmax_top_k, softrank_top_k
from jaxal.strategies.parts import ask, combine, compiled, scoring, without
from jaxal.strategies.ranked import random
from jaxal.types import Selection, Strategy, View, stateless

Kind = Literal["power", "softmax", "softrank"]
_DRAWS = {"power": power_top_k, "softmax": softmax_top_k, "softrank": softrank_top_k}


@register("mixture", is_combinator=True)
def mixture(
    strategies: Sequence[Strategy], weights: Sequence[float] | None = None
) -> Strategy:
    """Returns the strategy that gives each of several a share of every batch.

    Shares are `K w_i / sum_j w_j`, rounded so that they add up to K (the largest
    remainders up). The strategies pick one after another, each from what is left.

    Args:
      strategies: who picks, in this order.
      weights: not negative, one a strategy; all equal by default.

    Returns:
      A `Strategy` that needs what its parts need. Scores are those of the part that
      picked the row.

    Raises:
      ValueError: there are no strategies, or not as many weights, or no positive one.

    Example:
      >>> from jaxal import mixture, strategy
      >>> half = mixture([strategy("margin"), strategy("coreset")])
      >>> sorted(half.needs | half.streams)
      ['features', 'logits']
    """
    parts = tuple(strategies)
    shares = (1.0,) * len(parts) if weights is None else tuple(map(float, weights))
    if len(shares) != len(parts) or not all(w >= 0 for w in shares) or not any(shares):
        raise ValueError(
            f"mixture got {len(parts)} strategies and weights {list(shares)}, expected "
            "one weight a strategy, none negative and not all zero."
        )

    def step(
        key: Array, view: View, memory: tuple, batch_size: int
    ) -> tuple[Selection, tuple]:
        found = []
        for index, size in enumerate(_apportion(shares, batch_size)):
            if size:
                key_part = jax.random.fold_in(key, index)
                picks, memory = ask(parts, index, key_part, view, memory, size)
                view = without(view, picks)
                found.append(picks)
        picks = jax.tree.map(lambda *columns: jnp.concatenate(columns), *found)
        return picks, memory

    return combine(parts, step)


@register("schedule", is_combinator=True)
def schedule(strategies: Sequence[Strategy], boundaries: Sequence[int]) -> Strategy:
    """Returns the strategy that changes with the number of labelled rows.

    With L labelled rows, strategy i chooses where i of the boundaries are L or less.
    The branch is taken at run time: no round compiles anew.

    Args:
      strategies: who chooses, from the fewest labels to the most.
      boundaries: labels at which the next one takes over, increasing; one fewer than
        strategies.

    Returns:
      A `Strategy` that needs what its parts need.

    Raises:
      ValueError: boundaries are not increasing, or not one fewer than strategies.

    Example:
      >>> from jaxal import schedule, strategy
      >>> tcm_like = schedule([strategy("coreset"), strategy("margin")], [100])
      >>> sorted(tcm_like.needs | tcm_like.streams)
      ['features', 'logits']
    """
    parts, edges = tuple(strategies), tuple(boundaries)
    if len(edges) != len(parts) - 1 or list(edges) != sorted(set(edges)):
        raise ValueError(
            f"schedule got {len(parts)} strategies and boundaries {list(edges)}, "
            "expected increasing numbers of labels, one fewer than strategies."
        )

    def step(
        key: Array, view: View, memory: tuple, batch_size: int
    ) -> tuple[Selection, tuple]:
        num_labelled = jnp.sum(view.is_labelled, dtype=jnp.int32)
        index = jnp.sum(jnp.asarray(edges, jnp.int32) <= num_labelled, dtype=jnp.int32)
        branches = [
            partial(ask, parts, i, batch_size=batch_size) for i in range(len(parts))
        ]
        return lax.switch(index, branches, key, view, memory)

    return combine(parts, step)


@register("warm_up", is_combinator=True)
def warm_up(strategy: Strategy, labels: int, first: Strategy | None = None) -> Strategy:
    """Returns the strategy that leaves the first labels to another, or to chance.

    Args:
      strategy: who chooses once there are enough labels.
      labels: labelled rows from which it does.
      first: who chooses before; `random()` by default.

    Returns:
      A `Strategy` that needs what its parts need.

    Example:
      >>> from jaxal import strategy, warm_up
      >>> sorted(warm_up(strategy("badge"), labels=50).needs)
      ['features', 'logits']
    """
    return schedule([random() if first is None else first, strategy], [labels])


@register("stochastic", is_combinator=True)
def stochastic(
    scored: Strategy | Callable[[Array], Array],
    kind: Kind = "power",
    coldness: float = 1.0,
) -> Strategy:
    """Returns the strategy that draws around a ranking instead of taking its top.

    Args:
      scored: a strategy made by `by_score`, such as `strategy("bald")`, or a score
        from `[B, C]` logits to `[B]`.
      kind: how scores become chances, see `power_top_k` (scores must not be negative),
        `softmax_top_k` and `softrank_top_k`.
      coldness: 0 draws uniformly, infinity takes the top. The default is the paper's.

    Returns:
      A `Strategy` that streams what the score reads.

    Raises:
      ValueError: the kind is unknown, or the strategy does not rank by a score.

    Example:
      >>> from jaxal import entropy, stochastic
      >>> sorted(stochastic(entropy, "softmax").streams)
      ['logits']

    Reference:
      Kirsch et al., "Stochastic Batch Acquisition: A Simple Baseline for Deep Active
      Learning", TMLR 2023. https://arxiv.org/abs/2106.12059
    """
    part = scoring(scored)
    if kind not in _DRAWS:
        raise ValueError(f"kind is {kind!r}, expected one of {sorted(_DRAWS)}.")
    utility = part.utility
    if utility is None:
        raise ValueError(
            f"Strategy {part.name!r} gives no score to each row, so there is nothing "
            "to draw by. Pass one made by by_score, or the score itself."
        )

    @any_promotion
    def select(key: Array, view: View, batch_size: int) -> Selection:
        return _DRAWS[kind](
            key,
            utility(key, view),
            view.is_available,
            batch_size=batch_size,
            coldness=coldness,
        )

    as_read = part.needs, compiled(select), part.streams, part.rowwise
    return stateless(*as_read, utility, part.reads_classes)


@register("class_balanced", is_combinator=True)
def class_balanced(strategy: Strategy, factor: int = 10) -> Strategy:
    """Returns the strategy that evens out the classes of what another proposes.

    The other proposes `factor * K` rows. They are bought one after another: next comes
    the best-placed row of the predicted class that has the fewest rows so far, labels
    and picks together, among classes that have a proposal left.

    Args:
      strategy: who proposes, best first.
      factor: proposals for each pick; with enough to reach `N`, a rare class is missed
        only where no row is predicted to be of it.

    Returns:
      A `Strategy` that needs logits, labels and what its part needs. Scores are those
      of the part.

    Raises:
      ValueError: `factor` is less than 1.

    Example:
      Three rows are labelled 0, so those predicted to be of class 1 come first.

      >>> import jax, jax.numpy as jnp
      >>> from jaxal import View, class_balanced, strategy
      >>> logits = jnp.array([[9, 0], [9, 0], [9, 0], [.1, 0], [0, 2], [0, 3.0]])
      >>> labels = jnp.array([0, 0, 0, -1, -1, -1])
      >>> view = View(labels < 0, labels >= 0, labels, logits)
      >>> balanced = class_balanced(strategy("margin"))
      >>> balanced.select(jax.random.key(0), view, 2).indices.tolist()
      [4, 5]
    """
    check_positive(factor=factor)

    def step(
        key: Array, view: View, memory: tuple, batch_size: int
    ) -> tuple[Selection, tuple]:
        logits, labels = field(view, "logits"), field(view, "labels")
        num_proposed = min(factor * batch_size, labels.size)
        picks, memory = ask((strategy,), 0, key, view, memory, num_proposed)
        counts = _class_counts(view.is_labelled, labels, logits.shape[-1])
        classes = jnp.argmax(logits.at[picks.indices].get(mode="clip"), axis=-1)
        # A class with c labels gives its j-th proposal at turn c + j.
        turns = counts[classes] + _occurrence(jnp.where(picks.is_valid, classes, -1))
        last = jnp.iinfo(jnp.int32).max
        order = jnp.argsort(jnp.where(picks.is_valid, turns, last), stable=True)
        return jax.tree.map(lambda column: column[order[:batch_size]], picks), memory

    return combine((strategy,), step, needs=("logits", "labels"))


def _apportion(shares: tuple[float, ...], total: int) -> list[int]:
    exact = [total * share / sum(shares) for share in shares]
    sizes = [int(size) for size in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: sizes[i] - exact[i])
    for index in by_remainder[: total - sum(sizes)]:
        sizes[index] += 1
    return sizes


def _class_counts(is_labelled: Array, labels: Array, num_classes: int) -> Array:
    is_known = is_labelled & (labels >= 0)
    counts = jnp.zeros(num_classes, jnp.int32)
    return counts.at[jnp.where(is_known, labels, num_classes)].add(1, mode="drop")


def _occurrence(classes: Array) -> Array:
    """Returns how many earlier entries of `classes` [M] are equal, for each."""
    order = jnp.argsort(classes, stable=True)
    ranked = classes[order]
    before = jnp.arange(classes.size) - jnp.searchsorted(ranked, ranked, side="left")
    return jnp.zeros_like(before).at[order].set(before)
