"""DropQuery: rows whose prediction does not survive losing most of their features."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.checks import of_classes
from jaxal.embeddings import Dense
from jaxal.embeddings.base import working_dtype
from jaxal.embeddings.compositions import written_out
from jaxal.pools.mapping import map_rows
from jaxal.pools.mesh import SPREAD, Shard, over_rows
from jaxal.readings import composed, logits
from jaxal.registry import register
from jaxal.selection.engine.distances import chunk_size
from jaxal.selection.engine.door import pool_rows, selector, within
from jaxal.selection.joint.head import LinearHead, linear_head
from jaxal.selection.spread.k_means_nearest import k_means_nearest
from jaxal.types import Selection

_ROUNDING = 1e-4  # part of the largest logit there could be


class _Rows(NamedTuple):
    logits: Array  # [N, C]
    features: Array  # [N, D]


@of_classes
@selector
def drop_query(
    key: Array,
    embedding: Array | Dense,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    logits: Array,
    num_dropouts: int = 3,
    rate: float = 0.75,
    num_steps: int = 25,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks from clusters of the rows whose prediction dropout of features changes.

    Features are dropped `M` times, each with probability `rate`, the others divided by
    `1 - rate`, and put through the last layer. A row is a candidate where more than
    half of the `M` predictions differ from that of all features; `k_means_nearest` on
    their features picks. With fewer than `K` candidates, others follow in the order of
    how many predictions differed, at random among equals. (The authors' code asks for
    fewer differences while there are fewer than `25 K` candidates, fills up at random,
    and clusters rows of unit length.)

    What is dropped belongs to the row, so the picks do not depend on chunks or devices.

    Args:
      key: a typed key, consumed.
      embedding: `[N, D]`, or `Dense`: the features that the last layer sees.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, unused: labelled rows are neither clustered nor avoided.
      batch_size: picks `K`, static.
      logits: `[N, C]`; the last layer is found from them, see `linear_head`.
      num_dropouts: M, static. The default is the authors'.
      rate: of dropout, static. The default is the authors'.
      num_steps: the most steps of k-means, static.
      mesh: where the rows live, by default as the features are sharded.

    Returns:
      `Selection`, as of `k_means_nearest`.

    Raises:
      ValueError: a shape is wrong, or a number is out of its range.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import drop_query
      >>> x = jnp.array([[8.0, 8.0, 8.0], [9.0, 0.0, -8.0], [-8.0, -8.0, -8.0]])
      >>> logits = jnp.stack([x.sum(1), -x.sum(1)], axis=1)
      >>> picks = drop_query(jax.random.key(0), x, jnp.ones(3, bool), batch_size=1,
      ...                    logits=logits, num_dropouts=15, rate=0.5)
      >>> picks.indices.tolist()
      [1]

    Reference:
      Gupte et al., "Revisiting Active Learning in the Era of Vision Foundation Models",
      TMLR 2024. https://arxiv.org/abs/2401.14555
    """
    if num_dropouts < 1 or not 0 <= rate < 1:
        raise ValueError(
            f"num_dropouts is {num_dropouts} and rate {rate}, expected at least 1 and "
            "a rate from 0 to less than 1."
        )
    rows = pool_rows(embedding, is_available, is_labelled)
    features = written_out(rows.embedding, "it is dropped by coordinates").x
    head = linear_head(logits, features, rows.is_used, mesh=mesh)
    key_drop, key_pick = jax.random.split(key)
    seen = _Rows(logits, features)
    changed = dropout_changes(key_drop, head, seen, num_dropouts, rate, mesh)
    return within(k_means_nearest)(
        key_pick,
        features,
        is_available,
        batch_size=batch_size,
        is_candidate=changed > num_dropouts / 2,
        fallback=changed,
        num_steps=num_steps,
        mesh=mesh,
    )


@partial(jax.jit, static_argnums=(3, 4, 5))
def dropout_changes(
    key: Array,
    head: LinearHead,
    rows: _Rows,
    num_dropouts: int,
    rate: float,
    mesh: Mesh | None,
) -> Array:
    """Returns how many of the `M` predictions differ, `[N]` int32."""

    def count(shard: Shard, shared: tuple, rows: _Rows) -> Array:
        key, head = shared

        def changes(chunk: tuple[_Rows, Array]) -> Array:
            return _changes(key, head, *chunk, num_dropouts, rate)

        numbers = shard.first_row + jnp.arange(shard.num_rows)
        size = chunk_size(shard.num_rows)
        return map_rows(changes, (rows, numbers), chunk_size=size)

    return over_rows(count, (key, head), rows, mesh=mesh, out_specs=SPREAD)


def _changes(
    key: Array,
    head: LinearHead,
    rows: _Rows,
    numbers: Array,
    num_dropouts: int,
    rate: float,
) -> Array:
    """Returns the counts of some rows, whose numbers in the pool are given."""
    features = rows.features.astype(working_dtype(rows.features.dtype))
    label = jnp.argmax(rows.logits, axis=-1)[:, None]
    strength = jnp.max(jnp.linalg.norm(head.weights, axis=-1))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)

    def drop(index: Array, changed: Array) -> Array:
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
        num_dims = features.shape[1]
        is_kept = jax.vmap(lambda k: jax.random.bernoulli(k, 1 - rate, (num_dims,)))(
            own
        )
        left = jnp.where(is_kept, features / (1 - rate), 0)
        dropped = head.logits(left)
        kept = jnp.take_along_axis(dropped, label, axis=-1)[:, 0]
        # Where nothing is left, a head without bias is in two minds: rounding must not
        # decide for it, so a lead that small is none.
        length = jnp.linalg.norm(left - head.centre[None], axis=-1)
        lead = jnp.max(dropped, axis=-1) - kept
        return changed + (lead > _ROUNDING * strength * length)

    nothing = jnp.zeros(features.shape[0], jnp.int32)
    return lax.fori_loop(0, num_dropouts, drop, nothing)


register(
    "drop_query",
    composed(drop_query, logits=logits, is_labelled=None),
    family="disturbance, clusters",
    cost="O(N (D + C)^2), then O(K N D) a step of k-means",
)
