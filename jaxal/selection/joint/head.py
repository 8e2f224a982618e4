"""The last layer of a network, from what it makes of the pool."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal import checks, linalg
from jaxal.embeddings import Dense, Outer, gradient_embedding
from jaxal.pools.mesh import Shard, find_mesh, over_rows
from jaxal.selection.engine.distances import Chunk, fold_chunks, make_space


class LinearHead(NamedTuple):
    """A linear last layer; its logits are right up to a constant for each row."""

    weights: Array  # [C, D]
    bias: Array  # [C], the logits at the centre
    centre: Array  # [D]

    def logits(self, features: Array) -> Array:
        """Returns `W (h - centre) + bias`, `[B, C]`, of features `[B, D]`."""
        return (
            Dense(features - self.centre[None]).inner(Dense(self.weights))
            + (self.bias[None])
        )


class _Rows(NamedTuple):
    logits: Array  # [N, C]
    features: Array  # [N, D]
    is_used: Array  # [N]


def linear_head(
    logits: Array,
    features: Array,
    is_used: Array | None = None,
    *,
    mesh: Mesh | None = None,
) -> LinearHead:
    """Returns the last layer that made these logits of these features.

    Where the last layer is linear, `z_n = W h_n + b` for all rows, and least squares
    find it again. Both are taken relative to means (of features over rows, of logits
    over classes, so that log-probabilities do as well), and the triangular factor of
    the rows is built up in chunks: rounding grows with the condition of the features,
    not with its square. On the span of the features the head is right up to rounding;
    across it, where the pool says nothing, it is flat.

    Args:
      logits: `[N, C]`. Rows with one that is not finite are left out.
      features: `[N, D]`, what the last layer sees.
      is_used: `[N]` bool, rows to learn from; all by default.
      mesh: where the rows live, by default as the features are sharded.

    Returns:
      A `LinearHead` in float32 at least.

    Raises:
      ValueError: a shape is wrong.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import linear_head
      >>> features = jnp.array([[0.0], [1.0], [2.0]])
      >>> logits = jnp.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
      >>> head = linear_head(logits, features)
      >>> (head.weights[0] - head.weights[1]).round(3).tolist()
      [2.0]
    """
    logits, features = jnp.asarray(logits), jnp.asarray(features)
    gradient_embedding(logits[:1], features[:1])  # refuses what are no such pairs
    num_rows = features.shape[0]
    if logits.shape[0] != num_rows:
        raise ValueError(
            f"logits have {logits.shape[0]} rows and features {num_rows}, expected as "
            "many. Pass one row an example, with the pool along the first axis."
        )
    is_used = jnp.ones(num_rows, bool) if is_used is None else is_used
    checks.check_mask("is_used", is_used, num_rows)
    rows = _Rows(logits, features, jnp.asarray(is_used))
    return _fit(rows, find_mesh(mesh, rows))


@partial(jax.jit, static_argnums=1)
def _fit(rows: _Rows, mesh: Mesh | None) -> LinearHead:
    dtype = jnp.promote_types(
        jnp.promote_types(rows.features.dtype, rows.logits.dtype), jnp.float32
    )

    def fit(shard: Shard, _: None, rows: _Rows) -> LinearHead:
        is_used = rows.is_used & jnp.all(jnp.isfinite(rows.logits), axis=-1)
        sums = jnp.sum(jnp.where(is_used[:, None], rows.features, 0).astype(dtype), 0)
        sums, count = shard.sum((sums, jnp.sum(is_used)))
        centre = sums / jnp.maximum(count, 1)
        factor = _triangle(shard, rows, is_used, centre)
        weights, bias = _solve(factor, centre)
        return LinearHead(weights, bias, centre)

    return over_rows(fit, None, rows, mesh=mesh)


def _triangle(shard: Shard, rows: _Rows, is_used: Array, centre: Array) -> Array:
    """Returns R of the QR factors of rows `(h - centre, 1, z - mean z)`."""
    space = make_space(shard, Outer(rows.logits, rows.features), is_used)
    width = rows.features.shape[1] + 1 + rows.logits.shape[1]

    def add(chunk: Chunk, factor: Array) -> Array:
        assert isinstance(chunk.rows, Outer)
        kept = (chunk.is_new & chunk.cut(is_used))[:, None]
        logits = jnp.where(kept, chunk.rows.a, 0).astype(centre.dtype)
        logits = logits - jnp.mean(logits, axis=-1, keepdims=True)
        features = jnp.where(kept, chunk.rows.h - centre[None], 0)
        parts = [features, kept.astype(centre.dtype), logits]
        return _reduced([factor, jnp.concatenate(parts, axis=-1)])

    factor = fold_chunks(space, add, jnp.zeros((width, width), centre.dtype))
    return _reduced(list(shard.gather(factor)))


def _reduced(blocks: list[Array]) -> Array:
    return linalg.triangle(jnp.concatenate(blocks))


def _solve(factor: Array, centre: Array) -> tuple[Array, Array]:
    """Returns `[C, D]` weights and `[C]` bias, the shortest of those that fit best."""
    num_inputs = centre.size + 1
    inputs = factor[:num_inputs, :num_inputs]
    # Columns of one length: which of them is in small units says nothing of rank. Not
    # of those that hardly vary, though: their weights would be fitted to rounding.
    length = jnp.linalg.norm(inputs, axis=0)
    eps, most = float(jnp.finfo(length.dtype).eps), jnp.max(length[:-1])
    least = jnp.append(length[-1] * linalg.rounding_of(centre), 0)  # the last: of ones
    inputs = jnp.where((length > least)[None], inputs, 0)
    length = jnp.where(length > least, length, 0)
    scale = jnp.maximum(length, eps**0.5 * most)
    scale = jnp.where(scale > 0, scale, 1)
    right = factor[:num_inputs, num_inputs:]
    found = linalg.shortest_fit(inputs / scale[None], right)
    found = found / scale[:, None]
    found = jnp.where((length > eps * most)[:, None], found, 0).T
    return found[:, :-1], found[:, -1]


def project_out(head: LinearHead, residual: Array) -> tuple[Array, Array]:
    """Returns `W W^T r`, `[B, C]`, and `|W^T r|`, `[B]`, of `r` [B, C].

    The first is how logits change along the gradient `W^T r`, the second its length;
    neither needs a product as wide as the features.
    """
    gram = linalg.product(head.weights, head.weights.T)
    change = linalg.product(residual, gram)
    return change, jnp.sqrt(jnp.maximum(jnp.sum(residual * change, axis=-1), 0))
