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
from jaxal.selection.engine.chance import row_gumbel, row_lots
from jaxal.selection.engine.distances import map_chunks, take_chunk
from jaxal.selection.engine.kernel_sums import over_ranked
from jaxal.selection.engine.kernels import Kernel
from jaxal.selection.engine.picks import (
    Bound,
    Picks,
    add_picks,
    best_of,
    bound_of,
    fill_up,
    highest,
    highest_by_lot,
    least_equal,
    no_picks,
    num_to_pick,
    pick_among,
    with_first,
)
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


class _Offer(NamedTuple):
    """The rows of the largest bounds, on every device the same."""

    rows: Array  # [B] numbers
    similar: Array  # [T, B] to targets
    worth: Array  # [B]
    is_open: Array  # [B]
    lots: Array  # [B]
    bound: Bound  # of what every other row may gain
    ahead: Array  # [] the place of the row that is first by its bound and lot
    most: Array  # [] its bound


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

    start = jnp.zeros(targets.num_rows, rows.dtype)
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
    target, lots = num_to_pick(shard, is_available, batch_size), row_lots(key, shard)
    stale = map_chunks(rows, lambda chunk: _gains_of(kernel, targets, chunk))
    stale = stale if worth is None else stale + worth.astype(stale.dtype)
    worth = jnp.zeros_like(stale) if worth is None else worth.astype(stale.dtype)
    picks = no_picks(is_available, batch_size, stale.dtype)

    def advance(state: _State) -> _State:
        offer = _offer(shard, kernel, rows, targets, worth, lots, state)
        return _advance(shard, targets, offer, target, state)

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
    shard: Shard, targets: Targets, offer: _Offer, target: Array, state: _State
) -> _State:
    """Picks among a block of candidates while it is certain."""
    found = _pick_among(targets, offer, state.best, target - state.picks.num)
    bound = offer.bound.value
    is_worthless = (found.num == 0) & (bound <= 0) & (jnp.max(found.gains) <= 0)
    picked = offer.rows[found.order], found.scores, found.num
    return _State(
        stale=shard.put(state.stale, offer.rows, found.gains),
        best=found.best,
        picks=add_picks(shard, state.picks, *picked),
        is_stuck=is_worthless,
    )


def _offer(
    shard: Shard,
    kernel: Kernel,
    rows: Embedding,
    targets: Targets,
    worth: Array,
    lots: Array,
    state: _State,
) -> _Offer:
    """The next block to look at."""
    num_rows = shard.num_rows * shard.num_devices
    size = _block_size(state.picks.indices.size, targets.weights.size)
    values = jnp.where(state.picks.is_open, state.stale, -jnp.inf)
    most, first = best_of(shard, values, lots)
    _, rows_here = highest_by_lot(shard, values, lambda: lots, min(size, num_rows))
    candidates = with_first(rows_here, first)
    is_left = shard.clear(jnp.ones(shard.num_rows, bool), candidates)
    bound = bound_of(shard, jnp.where(is_left, values, -jnp.inf), lots, first)
    block, added, known, own = shard.fetch((rows, worth, values, lots), candidates)
    similar, ahead = kernel(targets.rows, block), jnp.argmax(candidates == first)
    is_open = known > -jnp.inf
    return _Offer(candidates, similar, added, is_open, own, bound, ahead, most)


class _Found(NamedTuple):
    """Picks under way among an offer."""

    gains: Array  # [B] of what is open, after these picks
    best: Array  # [T]
    is_open: Array  # [B]
    order: Array  # [B] places, the first `num` of them
    scores: Array  # [B]
    num: Array  # []


def _pick_among(targets: Targets, offer: _Offer, best: Array, most: Array) -> _Found:
    """Picks no more than `most`, while nobody else can be better."""

    def gains_of(best: Array, is_open: Array) -> Array:
        gained = targets.weights[:, None] * _gained(offer.similar, best, targets.cap)
        return jnp.where(is_open, offer.worth + jnp.sum(gained, axis=0), -jnp.inf)

    def choose(gains: Array, num: Array) -> tuple[Array, Array]:
        place, is_certain = pick_among(gains, offer.lots, offer.bound)
        # Where no bound has fallen, the row of the best lot among the best is known.
        best = jnp.max(gains)
        is_known = (num == 0) & (best >= least_equal(offer.most))
        is_known &= gains[offer.ahead] >= least_equal(best)
        place = jnp.where(is_known, offer.ahead, place)
        return place, (is_known | is_certain) & (gains[place] > 0)

    def is_sure(found: _Found) -> Array:
        return (found.num < most) & choose(found.gains, found.num)[1]

    def pick(found: _Found) -> _Found:
        gains, best, is_open, order, scores, num = found
        place, _ = choose(gains, num)
        best = jnp.maximum(best, jnp.minimum(offer.similar[:, place], targets.cap))
        is_open = is_open.at[place].set(False)
        return _Found(
            gains_of(best, is_open),
            best,
            is_open,
            order.at[num].set(place.astype(order.dtype)),
            scores.at[num].set(gains[place]),
            num + 1,
        )

    gains = gains_of(best, offer.is_open)
    nothing = jnp.zeros(offer.rows.size, jnp.int32), jnp.zeros_like(gains)
    start = _Found(gains, best, offer.is_open, *nothing, jnp.int32(0))
    return lax.while_loop(is_sure, pick, start)


def _block_size(batch_size: int, num_targets: int) -> int:
    """Returns how many candidates are looked at together."""
    most = 128 if jax.default_backend() == "cpu" else 512
    # With few targets a block costs less than finding its candidates: make it large.
    return max(min(max(32, batch_size // 8), most), min(512, 2**19 // num_targets))
