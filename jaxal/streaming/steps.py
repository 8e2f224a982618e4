"""What happens on the device while a pool is streamed past, compiled once each."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial

from jaxal.embeddings import Embedding, as_embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.by_distance import Candidates, Decision, Rule
from jaxal.selection.engine.chance import draw_rows, perturb
from jaxal.selection.engine.distances import Centres, Space, refresh, squared_distances
from jaxal.selection.engine.ranks import highest

# As in memory: the origin that distances are seen from decides how they are rounded.
_ORIGIN_SAMPLE = 127


@partial(jax.jit, donate_argnums=1)
def lower_chunk(
    embed: Partial,
    nearest: Array,
    num_bad: Array,
    rows: Any,
    first: Array,
    is_used: Array,
    origin: Any,
    centres: Centres,
) -> tuple[Array, Array]:
    """Returns distances lowered for a chunk's rows, and rows that are no numbers."""
    embedding = as_embedding(embed(rows))
    norms = embedding.relative_to(origin).sqnorm()
    before = lax.dynamic_slice_in_dim(nearest, first, norms.size)
    after = refresh(Space(embedding, origin, norms), before, centres)
    is_here = lax.dynamic_slice_in_dim(is_used, first, norms.size)
    num_bad += jnp.sum(is_here & ~jnp.isfinite(norms), dtype=jnp.int32)
    return lax.dynamic_update_slice_in_dim(nearest, after, first, 0), num_bad


@partial(jax.jit, static_argnums=2)
def uniform(key: Array, step: Array, num: int, like: Array) -> Array:
    """Returns the chance of one block of `num` candidates, `[4, num]`."""
    return jax.random.uniform(jax.random.fold_in(key, step), (4, num), like.dtype)


@partial(jax.jit, static_argnums=(0, 1))
def propose(
    rule: Rule,
    shard: Shard,
    uniform: Array,
    nearest: Array,
    is_open: Array,
    weights: Array | None,
) -> tuple[Array, Array, Array, tuple[Array, Array]]:
    """Returns candidates: rows, distances, weights, and a bound on the others."""
    values = jnp.where(is_open, nearest[: shard.num_rows], 0)
    values = values if weights is None else values * weights
    rows, bound = rule.propose(uniform[:3], shard, values)
    ones = jnp.ones(rows.size, values.dtype)
    return rows, values[rows], ones if weights is None else weights[rows], bound


@partial(jax.jit, static_argnums=0)
def decide(
    rule: Rule,
    uniform: Array,
    embed: Partial,
    found: Any,
    origin: Any,
    rows: Array,
    values: Array,
    weights: Array,
    bound: tuple[Array, Array],
    budget: Array,
) -> tuple[Decision, Centres]:
    """Returns which candidates are picked, and those as the next centres."""
    block = as_embedding(embed(found)).relative_to(origin)
    between = squared_distances(block, block.sqnorm(), block)
    # The same row twice is the same place, whatever rounding says.
    distances = jnp.where(rows[:, None] == rows[None], 0, between)
    candidates = Candidates(rows, values, weights, distances, bound)
    decision = rule.decide(uniform[3], candidates, budget)
    return decision, Centres(block.take(decision.order), decision.num)


@partial(jax.jit, static_argnums=0)
def spread(shard: Shard, is_used: Array) -> tuple[Array, Array]:
    """Returns rows from all over the pool, and which of them are there."""
    count = jnp.sum(is_used, dtype=jnp.int32)
    ranks = jnp.arange(_ORIGIN_SAMPLE) * jnp.maximum(count // _ORIGIN_SAMPLE, 1)
    rows = shard.ranked_rows(is_used, ranks)
    return jnp.minimum(rows, shard.num_rows - 1), ranks < count


@jax.jit
def origin(embed: Partial, found: Any, is_there: Array) -> Any:
    """Returns the point that distances are seen from."""
    return as_embedding(embed(found)).origin(is_there)


@jax.jit
def relative(embed: Partial, found: Any, origin: Any) -> Embedding:
    """Returns rows as seen from the origin."""
    return as_embedding(embed(found)).relative_to(origin)


@jax.jit
def norms(embed: Partial, found: Any) -> Array:
    """Returns squared norms, `[B]`."""
    return as_embedding(embed(found)).sqnorm()


@partial(jax.jit, static_argnums=0)
def first_row(
    shard: Shard,
    key: Array,
    norms: Array | None,
    weights: Array | None,
    is_available: Array,
) -> Array:
    """Returns the first centre, `[1]`: drawn, or of the largest of `norms`."""
    chances = is_available.astype(jnp.float32 if norms is None else norms.dtype)
    if weights is not None:
        weighted = chances * weights
        chances = jnp.where(jnp.sum(weighted) > 0, weighted, chances)
    if norms is None:
        return draw_rows(jax.random.uniform(key, (3, 1), chances.dtype), shard, chances)
    return highest(shard, jnp.where(is_available, norms * chances, -1), 1)[1]


@partial(jax.jit, static_argnums=(0, 1))
def random_rows(
    shard: Shard, num: int, key: Array, nearest: Array, is_open: Array
) -> Array:
    """Returns `num` open rows at random."""
    noise = perturb(key, shard, jnp.zeros(shard.num_rows, nearest.dtype))
    return highest(shard, jnp.where(is_open, noise, -jnp.inf), num)[1]
