"""What happens on the device while a pool is streamed past, compiled once each."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial

from jaxal.embeddings import Embedding, as_embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.block_rules import Decision, Rule, compare
from jaxal.selection.engine.by_distance import first_row
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.distances import Centres, Space, refresh
from jaxal.selection.engine.picks import Bound, random_rows

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


@partial(jax.jit, static_argnums=0)
def lots(shard: Shard, key: Array) -> Array:
    """Returns the lots by which equal rows are told apart, `[N]`."""
    return row_lots(key, shard)


@partial(jax.jit, static_argnums=(0, 1))
def propose(
    rule: Rule,
    shard: Shard,
    uniform: Array,
    nearest: Array,
    is_open: Array,
    weights: Array | None,
    lots: Array,
) -> tuple[Array, tuple, Bound]:
    """Returns candidates: rows, what is known of each, and a bound on the others."""
    values = jnp.where(is_open, nearest[: shard.num_rows], 0)
    values = values if weights is None else values * weights
    rows, bound = rule.propose(uniform[:3], lots, shard, values)
    return rows, shard.fetch((values, weights, lots), rows), bound


@partial(jax.jit, static_argnums=0)
def decide(
    rule: Rule,
    uniform: Array,
    embed: Partial,
    found: Any,
    origin: Any,
    rows: Array,
    facts: tuple,
    bound: Bound,
    budget: Array,
) -> tuple[Decision, Centres]:
    """Returns which candidates are picked, and those as the next centres."""
    block = as_embedding(embed(found)).relative_to(origin)
    candidates = compare(rows, block, facts, bound)
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
def first_centre(
    shard: Shard,
    key: Array,
    norms: Array | None,
    weights: Array | None,
    is_available: Array,
    lots: Array,
) -> Array:
    """Returns the first centre, `[1]`: drawn, or of the largest of `norms`."""
    dtype = jnp.float32 if norms is None else norms.dtype
    return first_row(key, shard, is_available, weights, norms, lots, dtype)


@partial(jax.jit, static_argnums=(0, 1))
def open_rows(shard: Shard, num: int, key: Array, is_open: Array) -> Array:
    """Returns `num` open rows at random."""
    return random_rows(key, shard, is_open, num)
