"""What combinators share: the views of their parts, and parts confined to some rows."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.checks import FIELDS
from jaxal.modes import any_promotion
from jaxal.readings import field, masked
from jaxal.selection import gumbel_top_k
from jaxal.selection.engine.door import blank
from jaxal.selection.engine.sound import sound_rows
from jaxal.strategies.ranked import by_score
from jaxal.types import Selection, StepFn, Strategy, View

MAX_LABELLED = 4096  # labelled rows that a part confined to a few rows still sees


def combine(
    parts: tuple[Strategy, ...], step: StepFn, needs: Iterable[str] = ()
) -> Strategy:
    """Returns the strategy that sees and remembers all that its parts do.

    Args:
      parts: the strategies it is made of.
      step: how it chooses, with a tuple of the parts' memories; `ask` asks one of them.
        Compiled as a whole, once for each `batch_size`.
      needs: fields of the view that `step` reads itself.

    Returns:
      A `Strategy` whose `rows` are a tuple, one entry a part, as is its memory.
    """

    def rowwise(view: View) -> tuple:
        return tuple(part.rowwise and part.rowwise(view) for part in parts)

    @any_promotion
    def sound_step(
        key: Array, view: View, memory: Any, batch_size: int
    ) -> tuple[Selection, Any]:
        picks, after = step(key, masked(view), memory, batch_size)
        # A part that does not read the bad rows would buy, where another is refused.
        is_good, num_rows = is_sound(view), view.is_available.size
        after = jax.tree.map(partial(jnp.where, is_good), after, memory)
        return blank(picks, is_good, num_rows), after

    return Strategy(
        frozenset(needs).union(*(part.needs for part in parts)),
        compiled(sound_step),
        frozenset[str]().union(*(part.streams for part in parts)),
        rowwise if any(part.rowwise for part in parts) else None,
        init=lambda num_rows: tuple(part.init(num_rows) for part in parts),
        # Who combines others and reads labels himself counts them as classes.
        reads_classes="labels" in needs or any(part.reads_classes for part in parts),
    )


def compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a step or a selection compiled, before which known values are refused."""
    traced = jax.jit(step, static_argnums=-1)

    def checked(key: Array, view: View, *rest: Any, **named: Any) -> Any:
        for name in FIELDS:
            if getattr(view, name) is not None:
                field(view, name)
        is_sound(view)
        return traced(key, view, *rest, **named)

    return checked


def is_sound(view: View) -> Array:
    """Returns whether no row that may be used holds NaN or +inf in what is seen."""
    names = ("logits", "predictive", "features", "samples", "rows")
    seen = {name: getattr(view, name) for name in names}
    seen = {name: seen[name] for name in names if jax.tree.leaves(seen[name])}
    is_used = view.is_available | view.is_labelled
    found = sound_rows(seen, is_used)[1] if seen else None
    return jnp.bool_(True) if found is None else found


def ask(
    parts: tuple[Strategy, ...],
    index: int,
    key: Array,
    view: View,
    memories: tuple,
    batch_size: int,
) -> tuple[Selection, tuple]:
    """Returns what one part picks, and the memories of all after that."""
    found = parts[index].step(key, part_of(view, index), memories[index], batch_size)
    return in_float32(found[0]), replaced(memories, index, found[1])


def replaced(memories: tuple, index: int, memory: Any) -> tuple:
    """Returns the memories of all parts, with another one for one of them."""
    return (*memories[:index], memory, *memories[index + 1 :])


def remembers(part: Strategy) -> bool:
    """Returns whether a strategy carries anything from round to round."""
    return bool(jax.tree.leaves(jax.eval_shape(lambda: part.init(1))))


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
    memory: Any,
    chosen: Selection,
    batch_size: int,
    max_labelled: int,
) -> tuple[Selection, Any]:
    """Chooses among `chosen` rows only, which are gathered where that saves work.

    Args:
      strategy: who chooses.
      key: a typed key, consumed.
      view: of the whole pool.
      memory: the strategy's.
      chosen: the rows that may be picked, `M` of them.
      batch_size: picks `K`, at most `M`.
      max_labelled: labelled rows to gather as well, drawn at random where there are
        more. Where `M + max_labelled` is no fewer than `N`, or the strategy remembers
        something, which may be of rows, nothing is gathered and all are seen.

    Returns:
      `Selection` of rows of the pool, and the memory.
    """
    view = view._replace(is_available=view.is_available & mask_of(view, chosen))
    num_rows = view.is_available.size
    if chosen.indices.size + max_labelled >= num_rows or remembers(strategy):
        picks, memory = strategy.step(key, view, memory, batch_size)
        return in_float32(picks), memory
    key_labelled, key_select = jax.random.split(key)
    rows = jnp.where(chosen.is_valid, chosen.indices, num_rows)
    if max_labelled:
        same = jnp.zeros(num_rows)
        known = gumbel_top_k(
            key_labelled, same, view.is_labelled, batch_size=max_labelled
        )
        rows = jnp.concatenate([rows, known.indices])
    rows = jnp.sort(rows)
    picks = strategy.step(key_select, gathered(view, rows), memory, batch_size)[0]
    return of_pool(picks, rows, num_rows), memory


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
