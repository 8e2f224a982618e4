"""Strategies from strategies, by which part of the pool they see."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.registry import register
from jaxal.selection import gumbel_top_k
from jaxal.strategies.parts import (
    MAX_LABELLED,
    ask,
    combine,
    confined,
    gathered,
    in_float32,
    of_pool,
    part_of,
    remembers,
    scoring,
)
from jaxal.types import Selection, Strategy, View


@register("uncertain_then_diverse", is_combinator=True)
def uncertain_then_diverse(
    uncertain: Strategy | Callable[[Array], Array],
    diverse: Strategy,
    factor: int = 10,
    max_labelled: int = MAX_LABELLED,
) -> Strategy:
    """Returns the strategy that shortlists with one and chooses with another.

    `uncertain` takes `factor * K` rows; `diverse` picks K of these. In a large pool the
    shortlist is gathered, so that `diverse` costs what a pool of
    `factor * K + max_labelled` rows costs.

    Args:
      uncertain: who shortlists, or a score from `[B, C]` logits to `[B]`.
      diverse: who chooses from the shortlist.
      factor: rows of the shortlist for each pick.
      max_labelled: labelled rows that `diverse` sees; more are drawn from at random.

    Returns:
      A `Strategy` that needs what its parts need. Scores are those of `diverse`.

    Raises:
      ValueError: `factor` is less than 1 or `max_labelled` is negative.

    Example:
      Row 0 is labelled, rows 1 to 4 are in doubt, row 5 is far away but certain.

      >>> import jax, jax.numpy as jnp
      >>> from jaxal import View, margin, strategy, uncertain_then_diverse
      >>> logits = jnp.array([[9, 0], [.1, 0], [.2, 0], [0, .3], [0, .4], [0, 9.0]])
      >>> features = jnp.array([[0.0], [5.0], [5.1], [8.0], [8.1], [99.0]])
      >>> is_labelled = jnp.arange(6) == 0
      >>> view = View(~is_labelled, is_labelled, logits=logits, features=features)
      >>> both = uncertain_then_diverse(margin, strategy("coreset"), factor=2)
      >>> both.select(jax.random.key(0), view, 2).indices.tolist()
      [4, 1]

    Reference:
      Zhdanov, "Diverse mini-batch Active Learning", 2019, which filters by
      `factor * K`, 10 to 50 times. https://arxiv.org/abs/1901.05954
    """
    _check_at_least("factor", factor, 1)
    _check_at_least("max_labelled", max_labelled, 0)
    parts = scoring(uncertain), diverse

    def step(
        key: Array, view: View, memory: tuple, batch_size: int
    ) -> tuple[Selection, tuple]:
        key_first, key_second = jax.random.split(key)
        size = min(factor * batch_size, view.is_available.size)
        chosen, (first, second) = ask(parts, 0, key_first, view, memory, size)
        seen = part_of(view, 1)
        limits = chosen, batch_size, max_labelled
        picks, second = confined(diverse, key_second, seen, second, *limits)
        return picks, (first, second)

    return combine(parts, step)


@register("subsample", is_combinator=True)
def subsample(
    strategy: Strategy, size: int, max_labelled: int = MAX_LABELLED
) -> Strategy:
    """Returns the strategy that sees a random part of the pool, another every round.

    Args:
      strategy: who chooses.
      size: available rows it may choose from, drawn uniformly; K where that is more.
      max_labelled: labelled rows that it sees; more are drawn from at random.

    Returns:
      A `Strategy` that needs what its part needs, and costs what it costs in a pool of
      `size + max_labelled` rows.

    Raises:
      ValueError: `size` is less than 1 or `max_labelled` is negative.

    Example:
      >>> from jaxal import strategy, subsample
      >>> sorted(subsample(strategy("badge"), 10_000).needs)
      ['features', 'logits']
    """
    _check_at_least("size", size, 1)
    _check_at_least("max_labelled", max_labelled, 0)

    def step(
        key: Array, view: View, memory: tuple, batch_size: int
    ) -> tuple[Selection, tuple]:
        key_rows, key_select = jax.random.split(key)
        num_rows = view.is_available.size
        chosen = gumbel_top_k(
            key_rows,
            jnp.zeros(num_rows),
            view.is_available,
            batch_size=min(max(size, batch_size), num_rows),
        )
        seen, limits = part_of(view, 0), (chosen, batch_size, max_labelled)
        picks, after = confined(strategy, key_select, seen, memory[0], *limits)
        return picks, (after,)

    return combine((strategy,), step)


@register("partition", is_combinator=True)
def partition(strategy: Strategy, parts: int) -> Strategy:
    """Returns the strategy that deals the pool into parts and picks from each.

    Available rows are dealt at random into parts of equal size, labelled rows too; in
    each part the strategy picks `K / parts` rows, knowing of no other part. A cost of
    `K N` becomes `K N / parts`, and memory that of one part.

    Args:
      strategy: who chooses, in one part after another.
      parts: how many.

    Returns:
      A `Strategy` that needs what its part needs. Picks come in turns, one of each
      part.

    Raises:
      ValueError: `parts` is less than 1.

    Example:
      >>> from jaxal import partition, strategy
      >>> sorted(partition(strategy("coreset"), 10).needs)
      ['features']

    Reference:
      Citovsky et al., "Batch Active Learning at Scale", NeurIPS 2021.
      https://arxiv.org/abs/2107.14263
    """
    _check_at_least("parts", parts, 1)

    has_memory = remembers(strategy)

    def step(
        key: Array, view: View, memory: tuple, batch_size: int
    ) -> tuple[Selection, tuple]:
        num_rows = view.is_available.size
        num_parts = min(parts, num_rows)
        view = part_of(view, 0)
        key_deal, key_select = jax.random.split(key)
        dealt = _deal(key_deal, view, num_parts)
        numbers = jnp.arange(num_parts)
        quotas = batch_size // num_parts + (numbers < batch_size % num_parts)
        size = -(-batch_size // num_parts)

        def pick(
            memory: Any, part: tuple[Array, Array, Array]
        ) -> tuple[Any, Selection]:
            rows, quota, number = part
            key_part = jax.random.fold_in(key_select, number)
            if has_memory:  # which may be of rows: it sees them where they are
                seen = _only(view, rows)
                picks, memory = strategy.step(key_part, seen, memory, size)
                picks = in_float32(picks)
            else:
                seen = gathered(view, rows)
                picks = strategy.step(key_part, seen, memory, size)[0]
                picks = of_pool(picks, rows, num_rows)
            is_due = jnp.arange(size) < quota
            return memory, picks._replace(is_valid=picks.is_valid & is_due)

        after, picks = lax.scan(pick, memory[0], (dealt, quotas, numbers))
        picks = jax.tree.map(lambda column: column.T.reshape(-1), picks)
        order = jnp.argsort(~picks.is_valid, stable=True)[:batch_size]
        indices = jnp.where(picks.is_valid, picks.indices, num_rows)
        scores = jnp.where(picks.is_valid, picks.scores, -jnp.inf)
        picks = Selection(indices, scores, picks.is_valid)
        return jax.tree.map(lambda x: x[order], picks), (after,)

    return combine((strategy,), step)


def _only(view: View, rows: Array) -> View:
    """Returns the view in which only `rows` are available or labelled."""
    nobody = jnp.zeros_like(view.is_available)
    mine = nobody.at[rows].set(True, mode="drop")
    return view._replace(
        is_available=view.is_available & mine, is_labelled=view.is_labelled & mine
    )


def _deal(key: Array, view: View, num_parts: int) -> Array:
    """Returns `[parts, rows of one]` rows of the pool, and `N` where they run out.

    Shuffled, then dealt in turn, available rows first: no part has more than one row
    more of a kind than another. So each has as many available rows as its quota wants,
    or all parts together have fewer than K.
    """
    num_rows = view.is_available.size
    kind = jnp.where(view.is_available, 0, jnp.where(view.is_labelled, 1, 2))
    order = jnp.lexsort((jax.random.uniform(key, (num_rows,)), kind))
    missing = -num_rows % num_parts
    order = jnp.pad(order.astype(jnp.int32), (0, missing), constant_values=num_rows)
    return jnp.sort(order.reshape(-1, num_parts).T, axis=-1)


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}, expected at least {least}.")
