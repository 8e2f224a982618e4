"""Greedy coverage of targets by kernels, in blocks: exact picks from stale gains.

The gain of a row only falls while others are picked, so its gain as of any earlier
time is an upper bound. Among the rows of the largest bounds gains are computed anew,
and picking goes on for as long as the best of them cannot be beaten elsewhere.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.chance import row_gumbel
from jaxal.selection.engine.distances import map_chunks, take_chunk
from jaxal.selection.engine.kernel_sums import over_ranked
from jaxal.selection.engine.kernels import Kernel
from jaxal.selection.engine.picks import Picks, fill_up, no_picks
from jaxal.selection.engine.ranks import highest
from jaxal.types import Selection

_GROUP = 4096  # targets looked at together


class Targets(NamedTuple):
    """What is to be covered, on every device the same."""

    rows: Embedding  # [T]
    weights: Array  # [T], zero for what stands in for missing rows
    best: Array  # [T] similarity reached already
    cap: Array  # [T] similarity beyond which nothing is gained


class _State(NamedTuple):
    stale: Array  # [L] upper bounds of gains
    best: Array  # [T]
    picks: Picks
    is_stuck: Array


def choose_targets(
    key: Array, shard: Shard, rows: Embedding, mask: Array, num_targets: int | None
) -> tuple[Embedding, Array, Array]:
    """Returns `[T]` rows of `mask`, all or as many as asked, their numbers, who is."""
    num_rows = shard.num_rows * shard.num_devices
    count = shard.sum(jnp.sum(mask, dtype=jnp.int32))
    if num_targets is None or num_targets >= num_rows:
        chosen = shard.ranked_rows(mask, jnp.arange(num_rows))
    else:
        noise = jnp.where(mask, row_gumbel(key, shard), -jnp.inf)
        chosen = jnp.sort(highest(shard, noise, num_targets)[1])
        # Where fewer rows are there than asked for, those that are come first.
        few = shard.ranked_rows(mask, jnp.arange(num_targets))
        chosen = jnp.where(count < num_targets, few, chosen)
    is_there = jnp.arange(chosen.size) < count
    return shard.fetch(rows, chosen), chosen, is_there


def reached(
    shard: Shard, kernel: Kernel, targets: Embedding, rows: Embedding, mask: Array
) -> Array:
    """Returns each target's similarity to the nearest row of `mask`, `[T]`, or 0."""

    def raise_best(block: Embedding, _: Array, is_there: Array, best: Array) -> Array:
        found = jnp.where(is_there[None], kernel(targets, block), 0)
        return jnp.maximum(best, jnp.max(found, axis=-1))

    start = jnp.zeros(targets.num_rows, kernel.bandwidth.dtype)
    return over_ranked(shard, rows, mask, raise_best, start)


def greedy_coverage(
    key: Array,
    shard: Shard,
    kernel: Kernel,
    rows: Embedding,
    is_available: Array,
    targets: Targets,
    worth: Array | None,
    batch_size: int,
) -> Selection:
    """Picks rows of the largest gain in weighted coverage plus `worth` [L].

    `gain_c = worth_c + sum_t w_t max(min(k(t, c), cap_t) - best_t, 0)`.
    """
    target = shard.sum(jnp.sum(is_available, dtype=jnp.int32))
    target = jnp.minimum(target, batch_size)
    stale = map_chunks(rows, lambda chunk: _gains_of(kernel, targets, chunk))
    stale = stale if worth is None else stale + worth.astype(stale.dtype)
    worth = jnp.zeros_like(stale) if worth is None else worth.astype(stale.dtype)
    picks = no_picks(is_available, batch_size, stale.dtype)

    def advance(state: _State) -> _State:
        return _advance(shard, kernel, rows, targets, worth, target, state)

    state = lax.while_loop(
        lambda state: (state.picks.num < target) & ~state.is_stuck,
        advance,
        _State(stale, targets.best, picks, jnp.bool_(False)),
    )
    return fill_up(key, shard, state.picks, target)


def _gains_of(kernel: Kernel, targets: Targets, chunk: Embedding) -> Array:
    """Returns what each row of a chunk would gain, `[B]`, a group of targets a time."""
    size = targets.weights.size
    group = min(_GROUP, size)

    def add(index: Array, gains: Array) -> Array:
        first = jnp.minimum(index * group, size - group)
        some: Any = take_chunk(targets, first, group)  # type: ignore[arg-type]
        is_new = first + jnp.arange(group) >= index * group
        weights = jnp.where(is_new, some.weights, 0)
        gained = _gained(kernel(chunk, some.rows).T, some.best, some.cap)
        return gains + jnp.sum(weights[:, None] * gained, axis=0)

    start = jnp.zeros(chunk.num_rows, targets.best.dtype)
    return lax.fori_loop(0, -(-size // group), add, start)


def _gained(similar: Array, best: Array, cap: Array) -> Array:
    return jnp.maximum(jnp.minimum(similar, cap[:, None]) - best[:, None], 0)


def _advance(
    shard: Shard,
    kernel: Kernel,
    rows: Embedding,
    targets: Targets,
    worth: Array,
    target: Array,
    state: _State,
) -> _State:
    """Looks at a block of candidates, and picks among them while it is certain."""
    num_rows = shard.num_rows * shard.num_devices
    size = _block_size(state.picks.indices.size, targets.weights.size)
    size = min(size, num_rows)
    values = jnp.where(state.picks.is_open, state.stale, -jnp.inf)
    found, candidates = highest(shard, values, min(size + 1, num_rows))
    if size == num_rows:
        bound, bound_row = jnp.full((), -jnp.inf, found.dtype), jnp.int32(num_rows)
    else:
        bound, bound_row = found[size], candidates[size]
    # In the order of rows, so that the first of several maxima is the lowest row.
    order = jnp.argsort(candidates[:size])
    candidates, is_open = candidates[order], found[order] > -jnp.inf
    block, added = shard.fetch((rows, worth), candidates)
    similar = kernel(targets.rows, block)

    def gains_of(best: Array, is_open: Array) -> Array:
        gained = targets.weights[:, None] * _gained(similar, best, targets.cap)
        return jnp.where(is_open, added + jnp.sum(gained, axis=0), -jnp.inf)

    def is_certain(carry: tuple) -> Array:
        gains, _, _, picks = carry
        first = jnp.argmax(gains)
        is_lower = candidates[first] < bound_row
        is_best = (gains[first] > bound) | ((gains[first] == bound) & is_lower)
        return (picks.num < target) & is_best & (gains[first] > 0)

    def pick(carry: tuple) -> tuple:
        gains, best, is_open, picks = carry
        first = jnp.argmax(gains)
        picks = picks._replace(
            indices=picks.indices.at[picks.num].set(candidates[first]),
            scores=picks.scores.at[picks.num].set(gains[first]),
            num=picks.num + 1,
        )
        best = jnp.maximum(best, jnp.minimum(similar[:, first], targets.cap))
        is_open = is_open.at[first].set(False)
        return gains_of(best, is_open), best, is_open, picks

    start = gains_of(state.best, is_open), state.best, is_open, state.picks
    gains, best, still_open, picks = lax.while_loop(is_certain, pick, start)
    picked = jnp.where(is_open & ~still_open, candidates, -1)
    picks = picks._replace(is_open=shard.clear(picks.is_open, picked))
    nothing = (picks.num == state.picks.num) & (bound <= 0) & (jnp.max(gains) <= 0)
    return _State(
        stale=_put(shard, state.stale, candidates, gains),
        best=best,
        picks=picks,
        is_stuck=nothing,
    )


def _put(shard: Shard, values: Array, rows: Array, some: Array) -> Array:
    """Returns this device's `values` [L] with rows of the pool replaced."""
    local = rows - shard.first_row
    is_mine = (local >= 0) & (local < shard.num_rows)
    where = jnp.where(is_mine, local, shard.num_rows)
    return values.at[where].set(some, mode="drop")


def _block_size(batch_size: int, num_targets: int) -> int:
    """Returns how many candidates are looked at together."""
    most = 128 if jax.default_backend() == "cpu" else 512
    # With few targets a block costs less than finding its candidates: make it large.
    return max(min(max(32, batch_size // 8), most), min(512, 2**19 // num_targets))
