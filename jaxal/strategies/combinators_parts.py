"""What combinators share: the views of their parts, and parts confined to some rows."""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.selection import gumbel_top_k
from jaxal.strategies.ranked import by_score
from jaxal.types import SelectFn, Selection, Strategy, View

MAX_LABELLED = 4096  # labelled rows that a part confined to a few rows still sees


def combine(
    parts: tuple[Strategy, ...], select: SelectFn, needs: Iterable[str] = ()
) -> Strategy:
    """Returns the strategy that sees all its parts see; `part_of` splits its view.

    Args:
      parts: the strategies it is made of.
      select: how it chooses; compiled as a whole, once for each `batch_size`.
      needs: fields of the view that `select` reads itself.

    Returns:
      A `Strategy` whose `rows` are a tuple, one entry a part.

    Raises:
      ValueError: a part remembers earlier rounds.
    """
    for part in parts:
        refuse_memory(part)

    def rowwise(view: View) -> tuple:
        return tuple(part.rowwise and part.rowwise(view) for part in parts)

    return Strategy(
        frozenset(needs).union(*(part.needs for part in parts)),
        jax.jit(select, static_argnums=2),
        frozenset[str]().union(*(part.streams for part in parts)),
        rowwise if any(part.rowwise for part in parts) else None,
    )


def refuse_memory(part: Strategy) -> None:
    """Raises ValueError for a strategy that remembers earlier rounds."""
    if part.init is not None:
        raise ValueError(
            f"Strategy {part.name!r} remembers earlier rounds and cannot be part of "
            "another. Use it by itself, and combine the strategies it is given."
        )


def scoring(scored: Strategy | Callable[[Array], Array]) -> Strategy:
    """Returns a strategy as it is, and a score of logits as its strategy."""
    return scored if isinstance(scored, Strategy) else by_score(scored)


def part_of(view: View, index: int) -> View:
    """Returns the view of one part: its own rows in place of the tuple of all."""
    return view if view.rows is None else view._replace(rows=view.rows[index])


def without(view: View, picks: Selection) -> View:
    """Returns the view in which these rows can no longer be had."""
    return view._replace(is_available=view.is_available & ~mask_of(view, picks))


def mask_of(view: View, picks: Selection) -> Array:
    """Returns `[N]` bool, True at the valid picks."""
    nobody = jnp.zeros_like(view.is_available)
    rows = jnp.where(picks.is_valid, picks.indices, nobody.size)
    return nobody.at[rows].set(True, mode="drop")


def confined(
    strategy: Strategy,
    key: Array,
    view: View,
    chosen: Selection,
    batch_size: int,
    max_labelled: int,
) -> Selection:
    """Chooses among `chosen` rows only, which are gathered where that saves work.

    Args:
      strategy: who chooses.
      key: a typed key, consumed.
      view: of the whole pool.
      chosen: the rows that may be picked, `M` of them.
      batch_size: picks `K`, at most `M`.
      max_labelled: labelled rows to gather as well, drawn at random where there are
        more. Where `M + max_labelled` is no fewer than `N`, nothing is gathered and
        all are seen.

    Returns:
      `Selection` of rows of the pool.
    """
    view = view._replace(is_available=view.is_available & mask_of(view, chosen))
    num_rows = view.is_available.size
    if chosen.indices.size + max_labelled >= num_rows:
        return in_float32(strategy.select(key, view, batch_size))
    key_labelled, key_select = jax.random.split(key)
    rows = jnp.where(chosen.is_valid, chosen.indices, num_rows)
    if max_labelled:
        same = jnp.zeros(num_rows)
        known = gumbel_top_k(
            key_labelled, same, view.is_labelled, batch_size=max_labelled
        )
        rows = jnp.concatenate([rows, known.indices])
    rows = jnp.sort(rows)  # so that ties go to the lower row of the pool
    picks = strategy.select(key_select, gathered(view, rows), batch_size)
    return of_pool(picks, rows, num_rows)


def gathered(view: View, rows: Array) -> View:
    """Returns the view of `rows` [M] alone; numbers of `N` or more become padding."""
    is_row = rows < view.is_available.size

    def take(leaf: Array) -> Array:
        return leaf.at[rows].get(mode="clip")

    found = jax.tree.map(take, view._replace(samples=None))
    if view.samples is not None:
        found = found._replace(samples=view.samples.at[:, rows].get(mode="clip"))
    return found._replace(
        is_available=found.is_available & is_row,
        is_labelled=found.is_labelled & is_row,
    )


def of_pool(picks: Selection, rows: Array, num_rows: int) -> Selection:
    """Returns picks among `rows` [M] as picks of the pool they were gathered from."""
    indices = rows.at[picks.indices].get(mode="clip")
    indices = jnp.where(picks.is_valid, indices, num_rows).astype(jnp.int32)
    return in_float32(picks._replace(indices=indices))


def in_float32(picks: Selection) -> Selection:
    """Returns picks with scores of one dtype, whichever strategy made them."""
    return picks._replace(scores=picks.scores.astype(jnp.float32))
