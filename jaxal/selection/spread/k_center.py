"""Farthest-first traversal: cover the pool with as small a radius as greed can."""

import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard
from jaxal.readings import composed
from jaxal.registry import register
from jaxal.selection.engine.block_rules import Candidates, Decision, Rule
from jaxal.selection.engine.by_distance import First, blocked_selection
from jaxal.selection.engine.door import selector, within
from jaxal.selection.engine.picks import (
    Bound,
    best_of,
    bound_of,
    highest_by_lot,
    pick_among,
    with_first,
)
from jaxal.types import Selection


@selector
def k_center(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    weights: Array | None = None,
    first: First = "drawn",
    num_candidates: int | None = None,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks the row farthest from all centres, again and again (Core-set).

    `i_k = argmax_n w_n min_c |x_n - x_c|^2` over the available rows `n`, with `c` over
    labelled rows and earlier picks; ties are drawn with the key. The picks are exactly
    those of the sequential algorithm: distances as of the last pass are upper bounds,
    so among the rows with the largest ones, picking goes on without looking at the pool
    for as long as the best of them is at least as far as the best bound elsewhere.

    Args:
      key: a typed key, consumed; used for the first centre, ties and filling up.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows that are centres already; None for no such rows.
      batch_size: picks `K`, static.
      weights: `[N]`, not negative, what squared distances are multiplied by.
      first: the first centre where none is labelled, "drawn" in proportion to the
        weights, or "largest_norm".
      num_candidates: rows looked at in one block. It changes the time, not the picks.
      mesh: where the rows live, by default as the embedding is sharded; if it does not
        divide them they are copied, so pad them first, as `make_pool` does.

    Returns:
      `Selection` in the order picked. A score is the (weighted) squared distance to the
      nearest centre at the time of picking; that of a first centre, which has none, its
      squared norm. When only rows equal to centres are left, they are taken at random,
      with score 0. Indices are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import k_center
      >>> x = jnp.array([[0.0], [1.0], [5.0], [9.0]])
      >>> is_labelled = jnp.array([True, False, False, False])
      >>> key, free = jax.random.key(0), ~is_labelled
      >>> k_center(key, x, free, is_labelled, batch_size=2).indices
      Array([3, 2], dtype=int32)

    Reference:
      Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
      Approach", ICLR 2018. https://arxiv.org/abs/1708.00489
    """
    selection, _ = within(blocked_selection)(
        K_CENTER,
        key,
        embedding,
        is_available,
        is_labelled,
        batch_size=batch_size,
        weights=weights,
        first=first,
        num_candidates=num_candidates,
        mesh=mesh,
    )
    return selection


def _propose(
    uniform: Array, lots: Array, shard: Shard, values: Array
) -> tuple[Array, Bound]:
    """Returns the rows of the largest values, and a bound on those left out."""
    _, first = best_of(shard, values, lots)
    _, rows = highest_by_lot(shard, values, lambda: lots, uniform.shape[-1])
    rows = jnp.sort(with_first(rows, first))
    is_left = shard.clear(jnp.ones(shard.num_rows, bool), rows)
    return rows, bound_of(shard, jnp.where(is_left, values, -jnp.inf), lots, first)


def _decide(uniform: Array, candidates: Candidates, budget: Array) -> Decision:
    """Picks the farthest candidate while no row elsewhere can be farther."""
    del uniform
    rows, lots, bound = candidates.rows, candidates.lots, candidates.bound
    size = rows.size

    def best(now: Array, count: Array) -> tuple[Array, Array]:
        place, is_certain = pick_among(now, lots, bound)
        # Right after a pass nothing is stale, and the first pick is known.
        place = jnp.where(count == 0, jnp.argmax(rows == bound.first), place)
        return place, (is_certain | (count == 0)) & (now[place] > 0)

    def is_open(carry: tuple[Array, Decision]) -> Array:
        now, decision = carry
        is_wanted = (decision.num < budget) & (decision.num < size)
        return is_wanted & best(now, decision.num)[1]

    def pick(carry: tuple[Array, Decision]) -> tuple[Array, Decision]:
        now, (order, scores, count) = carry
        place, _ = best(now, count)
        order = order.at[count].set(place.astype(order.dtype))
        scores = scores.at[count].set(now[place])
        now = jnp.minimum(now, candidates.weights * candidates.distances[place])
        return now, Decision(order, scores, count + 1)

    nothing = Decision(
        jnp.zeros(size, jnp.int32), jnp.zeros_like(candidates.values), jnp.int32(0)
    )
    return lax.while_loop(is_open, pick, (candidates.values, nothing))[1]


K_CENTER = Rule(_propose, _decide)


register(
    "coreset",
    composed(k_center),
    family="coverage",
    cost="O((K + L) N D)",
    budget="many labels",
)
