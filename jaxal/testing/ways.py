"""Ways of running a strategy that must agree: as the loop does, whole, at once."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.pools.mapping import map_rows
from jaxal.testing.pools import BATCH_SIZE, NUM_ROWS, HostilePool
from jaxal.types import PER_ROW, Selection, Strategy, View

CHUNK_SIZE = 16  # does not divide the rows, so that the last chunk overlaps
NUM_ROUNDS = 3


def whole_view(strategy: Strategy, pool: HostilePool) -> View:
    """Returns a view with all that `needs` and `streams` name, and no rows."""
    names = strategy.needs | strategy.streams
    return _view(pool, {name for name in (*PER_ROW, "labels") if name in names})


def loop_view(strategy: Strategy, pool: HostilePool, rows: Any) -> View:
    """Returns what the loop hands to `step`: `needs`, and what rowwise found."""
    return _view(pool, set(strategy.needs))._replace(rows=rows)


def rowwise_view(strategy: Strategy, pool: HostilePool) -> View:
    """Returns what the loop hands to `rowwise`: no masks, no labels."""
    nobody = jnp.asarray(np.zeros(NUM_ROWS, bool))
    view = whole_view(strategy, pool)
    return view._replace(is_available=~nobody, is_labelled=nobody, labels=None)


def row_finder(strategy: Strategy) -> Callable[[HostilePool], Any]:
    """Returns the function that computes rows of a pool as the loop does, at once."""
    if strategy.rowwise is None:
        return lambda pool: None
    rowwise = compiled(strategy.rowwise)
    return lambda pool: rowwise(rowwise_view(strategy, pool))


def rows_in_chunks(strategy: Strategy, pool: HostilePool) -> Any:
    """Returns what rowwise finds when it sees the pool in chunks."""
    view = rowwise_view(strategy, pool)
    # Rows first, for samples as well: the axis that is cut.
    rows_first = view._replace(samples=_swapped(view.samples))

    def chunk(rows: Array) -> Any:
        part = jax.tree.map(lambda leaf: leaf[rows], rows_first)
        return strategy.rowwise(part._replace(samples=_swapped(part.samples)))  # type: ignore[misc]

    in_chunks = functools.partial(map_rows, chunk, chunk_size=CHUNK_SIZE)
    return compiled(in_chunks)(jnp.arange(NUM_ROWS))


def round_key(key: Array, index: Any) -> Array:
    """Returns the key of one of the rounds."""
    return jax.random.fold_in(key, index)


def scan_of_rounds(strategy: Strategy) -> Callable[..., tuple[Selection, Any]]:
    """Returns the function of a key that plays all rounds in a scan.

    As in a loop under `lax.scan`: what is picked is labelled with its class, and what
    is remembered is carried.

    Returns:
      A function of `(key, view, memory, classes)`, which returns picks and memories
      with a leading axis of rounds.
    """

    def play(key: Array, view: View, memory: Any, classes: Array) -> tuple:
        def one(carry: tuple[View, Any], index: Array) -> tuple:
            masks, memory = carry
            seen = _with_masks(view, masks)
            own_key = round_key(key, index)
            picks, memory = strategy.step(own_key, seen, memory, BATCH_SIZE)
            return (_bought(masks, picks, classes), memory), (picks, memory)

        masks = View(view.is_available, view.is_labelled, view.labels)
        return jax.lax.scan(one, (masks, memory), jnp.arange(NUM_ROUNDS))[1]

    return play


def over_keys(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `fn`, whose first argument is a key, compiled for many of them."""

    def many(keys: Array, *args: Any) -> Any:
        return jax.vmap(lambda key: fn(key, *args))(keys)

    return compiled(many)


def compiled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `fn` under jit, compiled as fast as can be."""
    return jax.jit(fn, compiler_options=quick_compilation())


@functools.cache
def quick_compilation() -> dict[str, Any] | None:
    """Returns options that make XLA compile three times faster, where it knows them."""
    options = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_use_fusion_emitters": False,
    }
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0)
    except Exception:  # another XLA, which calls them something else
        return None
    return options


def _view(pool: HostilePool, names: set[str]) -> View:
    arrays = {name: jnp.asarray(getattr(pool, name)) for name in sorted(names)}
    masks = map(jnp.asarray, (pool.is_available, pool.is_labelled))
    return View(*masks, **arrays)


def _with_masks(view: View, masks: View) -> View:
    return view._replace(
        is_available=masks.is_available,
        is_labelled=masks.is_labelled,
        labels=masks.labels,
    )


def _bought(masks: View, picks: Selection, classes: Array) -> View:
    rows = jnp.where(picks.is_valid, picks.indices, classes.size)
    is_bought = jnp.zeros_like(masks.is_labelled).at[rows].set(True, mode="drop")
    labels = masks.labels
    return masks._replace(
        is_available=masks.is_available & ~is_bought,
        is_labelled=masks.is_labelled | is_bought,
        labels=None if labels is None else jnp.where(is_bought, classes, labels),
    )


def _swapped(samples: Array | None) -> Array | None:
    return None if samples is None else jnp.swapaxes(samples, 0, 1)
