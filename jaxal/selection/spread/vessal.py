"""VeSSAL: one pass over the pool, taking rows as they come by the volume they add."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal import linalg
from jaxal.embeddings import Dense, Embedding, Outer
from jaxal.embeddings.base import working_dtype
from jaxal.embeddings.compositions import Masked
from jaxal.pools.mesh import Shard, over_rows
from jaxal.readings import composed
from jaxal.registry import register
from jaxal.selection.engine.door import Rows, pool_rows, selector
from jaxal.selection.spread.turns import take_in_order
from jaxal.types import Selection

_CHUNK = 512


class _Options(NamedTuple):
    batch_size: int
    num_dims: int
    regularization: float


class _State(NamedTuple):
    inverse: Array  # [P, P] of lambda I + sum over picks of x x^T
    seen: Array  # [P, P] sum over rows gone by, before this chunk, of x x^T
    trace: Array  # sum over rows gone by of x^T inverse x
    num_picked: Array
    num_seen: Array  # available rows gone by
    gains: Array  # [N] x^T inverse x when the row was picked, -1 for other rows


class _Chunk(NamedTuple):
    rows: Array  # [B, P]
    is_available: Array  # [B]
    uniform: Array  # [B]
    numbers: Array  # [B] rows of the pool


@selector
def vessal(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    num_dims: int = 1024,
    regularization: float = 0.01,
    mesh: Mesh | None = None,
) -> Selection:
    r"""Takes rows in the order of the pool, in proportion to the volume they add.

    The t-th of T available rows, `x`, is taken with probability

    $$p_t = \min\left(1, \frac{K - k}{T - t + 1} \,
    \frac{x^\top A^{-1} x}{\mathrm{tr}(\Sigma_t A^{-1})}\right), \qquad
    A = \lambda I + \sum_{\text{taken}} x x^\top,$$

    with `k` rows taken before and `Sigma_t` the mean of `x x^T` over rows so far:
    `x^T A^-1 x` is what `x` adds to `log det A`, to first order, and the rate makes up
    for rows taken too early or late. On `gradient_embedding` this is VeSSAL.

    A chunk of rows is looked at together, for nothing changes between rows taken; the
    inverse changes by rank one. Where rows have more than `num_dims` coordinates, a
    random projection of them is used (as the authors do on large sets); rows are
    written out, or projected, a chunk at a time. When the pass ends with fewer than
    `K`, others are taken at random, as in the authors' code.

    Args:
      key: a typed key, consumed.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, unused, as in the authors' code.
      batch_size: picks `K`, static.
      num_dims: most coordinates `P`, static: time grows with `N P^2`. The authors have
        2,560 on their widest data.
      regularization: lambda, static. The default is the authors' code's.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order of the pool; a score is `x^T A^-1 x` at the time, and 0
      for rows taken at random, which come last. Indices are `N` where fewer than `K`
      rows were available.

    Raises:
      ValueError: a shape is wrong, or a number is out of its range.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import vessal
      >>> x = jnp.array([[0.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
      >>> vessal(jax.random.key(0), x, jnp.ones(3, bool), batch_size=1).indices.tolist()
      [2]

    Reference:
      Saran et al., "Streaming Active Learning with Deep Neural Networks", ICML 2023.
      https://arxiv.org/abs/2303.02535
    """
    del is_labelled
    if num_dims < 1 or regularization <= 0:
        raise ValueError(
            f"num_dims is {num_dims} and regularization {regularization}, expected at "
            "least 1 and more than 0."
        )
    options = _Options(batch_size, num_dims, regularization)
    return _select(key, pool_rows(embedding, is_available), options, mesh)


@partial(jax.jit, static_argnums=(2, 3))
def _select(key: Array, rows: Rows, options: _Options, mesh: Mesh | None) -> Selection:
    num_rows = rows.is_available.size
    key_project, key_walk, key_fill = jax.random.split(key, 3)
    total = jnp.sum(rows.is_available, dtype=jnp.int32)
    uniform = jax.random.uniform(key_walk, (num_rows,))

    def walk(shard: Shard, shared: tuple, rows: Rows) -> Array:
        key, uniform, total = shared
        size = min(_CHUNK, num_rows)

        def step(index: Array, state: _State) -> _State:
            numbers = index * size + jnp.arange(size)
            # Rows past the end of the pool are nobody's, and come as unavailable.
            block, is_available, _ = shard.fetch(rows, numbers)
            coordinates = _coordinates(key, block, options.num_dims)
            drawn = uniform.at[numbers].get(mode="clip")
            chunk = _Chunk(coordinates, is_available.astype(bool), drawn, numbers)
            return _walk(chunk, state, total, options.batch_size)

        start = _start(key, rows.embedding, num_rows, options)
        return lax.fori_loop(0, -(-num_rows // size), step, start).gains

    gains = over_rows(walk, (key_project, uniform, total), rows, mesh=mesh)
    is_picked = gains >= 0
    noise = jax.random.uniform(key_fill, gains.shape)
    keys = (~is_picked, jnp.where(is_picked, 0, noise))
    scores = jnp.maximum(gains, 0)
    return take_in_order(keys, rows.is_available, scores, options.batch_size)


def _start(key: Array, rows: Embedding, num_rows: int, options: _Options) -> _State:
    one = rows.take(jnp.zeros(1, int))
    shape = jax.eval_shape(lambda: _coordinates(key, one, options.num_dims))
    num_dims, dtype = shape.shape[1], shape.dtype
    return _State(
        inverse=jnp.eye(num_dims, dtype=dtype) / options.regularization,
        seen=jnp.zeros((num_dims, num_dims), dtype),
        trace=jnp.zeros((), dtype),
        num_picked=jnp.int32(0),
        num_seen=jnp.int32(0),
        gains=jnp.full(num_rows, -1, dtype),
    )


def _coordinates(key: Array, rows: Embedding, num_dims: int) -> Array:
    """Returns rows written out, or `num_dims` random coordinates of them."""
    rows = rows.written() if isinstance(rows, Masked) else rows
    if isinstance(rows, Dense) and rows.x.shape[1] <= num_dims:
        return rows.x.astype(working_dtype(rows.x.dtype))
    if isinstance(rows, Outer) and rows.a.shape[1] * rows.h.shape[1] <= num_dims:
        dtype = working_dtype(jnp.promote_types(rows.a.dtype, rows.h.dtype))
        products = rows.a[:, :, None].astype(dtype) * rows.h[:, None].astype(dtype)
        return products.reshape(products.shape[0], -1)
    return rows.project(key, num_dims)


def _walk(chunk: _Chunk, state: _State, total: Array, batch_size: int) -> _State:
    """Goes through a chunk: from one row taken to the next, all at once."""
    rows = jnp.where(chunk.is_available[:, None], chunk.rows, 0)
    gains = jnp.maximum(jnp.sum(linalg.product(rows, state.inverse) * rows, axis=-1), 0)
    counts = state.num_seen + jnp.cumsum(chunk.is_available, dtype=jnp.int32)

    def next_taken(state: _State, gains: Array, position: Array) -> Array:
        """Returns the first row taken from `position` on, B where there is none."""
        traces = state.trace + jnp.cumsum(gains)
        rate = (batch_size - state.num_picked) / jnp.maximum(total - counts + 1, 1)
        share = gains * counts / jnp.where(traces > 0, traces, jnp.inf)
        is_taken = chunk.is_available & (chunk.uniform < rate * share)
        is_taken &= jnp.arange(gains.size) >= position
        return jnp.where(jnp.any(is_taken), jnp.argmax(is_taken), gains.size)

    def take(carry: tuple[_State, Array, Array]) -> tuple[_State, Array, Array]:
        state, gains, place = carry
        state, gains = _take(chunk, rows, state, gains, place)
        return state, gains, next_taken(state, gains, place + 1)

    start = (state, gains, next_taken(state, gains, jnp.int32(0)))
    state, gains, _ = lax.while_loop(lambda c: c[2] < gains.size, take, start)
    return state._replace(
        seen=state.seen + linalg.product(rows.T, rows),
        trace=state.trace + jnp.sum(gains),
        num_seen=counts[-1],
    )


def _take(
    chunk: _Chunk, rows: Array, state: _State, gains: Array, place: Array
) -> tuple[_State, Array]:
    """Takes one row of the chunk: the inverse, and all that depends on it, change."""
    moved = linalg.product(state.inverse, rows[place])
    scale = 1 / (1 + gains[place])
    lost = jnp.sum(linalg.product(state.seen, moved) * moved) * scale
    overlaps = jnp.square(linalg.product(rows, moved)) * scale
    taken = state._replace(
        inverse=state.inverse - scale * moved[:, None] * moved[None],
        trace=jnp.maximum(state.trace - lost, 0),
        num_picked=state.num_picked + 1,
        gains=state.gains.at[chunk.numbers[place]].set(gains[place]),
    )
    return taken, jnp.maximum(gains - overlaps, 0)


register(
    "vessal",
    composed(vessal, "gradients", is_labelled=None),
    exempt={"ties": "it is a stream: of equal rows the place in it decides"},
    family="gradients, one pass",
    cost="O((N + K) P^2), P = min(C D, 1024)",
    budget="many labels",
)
