"""Columns, sums and bandwidths of kernels, in chunks: no N x N array exists."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal import linalg
from jaxal.embeddings import Concatenated, Dense, Embedding, Outer, Scaled
from jaxal.embeddings.compositions import Masked
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.distances import map_chunks, squared_distances, take_chunk
from jaxal.selection.engine.kernels import Bandwidth, Kernel, KernelName

_BLOCK = 512  # rows of a mask looked at together
_SAMPLE = 256  # rows the median distance is taken from


def kernel_columns(kernel: Kernel, some: Embedding, rows: Embedding) -> Array:
    """Returns similarities `[M, L]` of `some` rows with those of this device."""
    return map_chunks_last(rows, some.num_rows, lambda chunk: kernel(some, chunk))


def map_chunks_last(rows: Embedding, size: int, fn: Callable[..., Array]) -> Array:
    """Returns `[M, L]`, `fn` of a chunk being its `[M, B]`, chunk by chunk."""
    length = min(2048, rows.num_rows)
    shape = jax.eval_shape(fn, take_chunk(rows, 0, length))

    def step(index: Array, out: Array) -> Array:
        # The last chunk overlaps the one before it instead of running past the end.
        start = jnp.minimum(index * length, rows.num_rows - length)
        found = fn(take_chunk(rows, start, length))
        return lax.dynamic_update_slice_in_dim(out, found, start, 1)

    out = jnp.zeros((size, rows.num_rows), shape.dtype)
    return lax.fori_loop(0, -(-rows.num_rows // length), step, out)


def kernel_sums(shard: Shard, kernel: Kernel, rows: Embedding, mask: Array) -> Array:
    """Returns `sum_m k(n, m)` over the rows `m` of `mask` [L], for each row, `[L]`.

    One pass where the kernel is linear in what it sees; "rbf" takes N^2 products.
    """
    if kernel.name == "rbf":
        return _sums_in_blocks(shard, kernel, rows, mask)
    total = shard.sum(row_sum(rows, mask))
    sums = map_chunks(rows, lambda chunk: inner_sum(chunk, total))
    count = shard.sum(jnp.sum(mask, dtype=sums.dtype))
    return sums if kernel.name == "linear" else (count + sums) / 2


def row_sum(rows: Embedding, weights: Array) -> Any:
    """Returns the weighted sum of rows as `inner_sum` takes it.

    Raises:
      TypeError: the embedding is of a kind whose sum is not known.
    """
    if isinstance(rows, Masked):
        return row_sum(rows.written(), weights)
    if isinstance(rows, Dense):
        return _weighted(rows.x, weights)
    if isinstance(rows, Outer):
        return _weighted(rows.h, weights[:, None] * rows.a)
    if isinstance(rows, Scaled):
        return row_sum(rows.rows, weights * rows.factors)
    if isinstance(rows, Concatenated):
        return tuple(row_sum(part, weights) for part in rows.parts)
    raise TypeError(
        f"embedding is {type(rows).__name__}, whose rows cannot be added up. Use "
        "random_projection to write down a few coordinates."
    )


def inner_sum(rows: Embedding, total: Any) -> Array:
    """Returns inner products `[N]` of rows with a sum that `row_sum` has made."""
    if isinstance(rows, Masked):
        return inner_sum(rows.written(), total)
    if isinstance(rows, Dense):
        return rows.inner(Dense(total[None]))[:, 0]
    if isinstance(rows, Outer):
        return jnp.sum(rows.a * Dense(rows.h).inner(Dense(total)), axis=-1)
    if isinstance(rows, Scaled):
        return rows.factors * inner_sum(rows.rows, total)
    assert isinstance(rows, Concatenated)  # `row_sum` has seen to it
    pairs = zip(rows.parts, total, strict=True)
    return jnp.stack([inner_sum(part, some) for part, some in pairs]).sum(0)


def row_gram(rows: Dense, mask: Array) -> Array:
    """Returns the sum of `x x^T` over the rows of `mask`, `[D, D]`."""
    x = jnp.where(mask[:, None], rows.x, 0)
    return _weighted(x, x)


def _weighted(x: Array, weights: Array) -> Array:
    """Returns `sum_n weights[n] (x) x[n]` in the dtype sums are taken in."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return linalg.product(weights.T.astype(dtype), x.astype(dtype))


def over_ranked(
    shard: Shard,
    rows: Embedding,
    mask: Array,
    fn: Callable[[Embedding, Array, Array, Any], Any],
    carry: Any,
) -> Any:
    """Returns `carry` after `fn(block, numbers, is_there, carry)` of rows of `mask`."""
    total = shard.sum(jnp.sum(mask, dtype=jnp.int32))
    size = min(_BLOCK, shard.num_rows * shard.num_devices)

    def step(index: Array, carry: Any) -> Any:
        ranks = index * size + jnp.arange(size)
        numbers = shard.ranked_rows(mask, ranks)
        return fn(shard.fetch(rows, numbers), numbers, ranks < total, carry)

    return lax.fori_loop(0, -(-total // size), step, carry)


def _sums_in_blocks(
    shard: Shard, kernel: Kernel, rows: Embedding, mask: Array
) -> Array:
    def add(block: Embedding, _: Array, is_there: Array, sums: Array) -> Array:
        def of_chunk(chunk: Embedding) -> Array:
            found = jnp.where(is_there[None], kernel(chunk, block), 0)
            return jnp.sum(found, axis=-1)

        return sums + map_chunks(rows, of_chunk)

    start = jnp.zeros(shard.num_rows, rows.dtype)
    return over_ranked(shard, rows, mask, add, start)


def make_kernel(
    shard: Shard,
    name: KernelName,
    bandwidth: Bandwidth,
    rows: Embedding,
    is_used: Array,
    is_labelled: Array | None,
) -> Kernel:
    """Returns a kernel whose bandwidth is a number, estimated where it is a name."""
    if name != "rbf":
        return Kernel(jnp.ones(()), name)
    if not isinstance(bandwidth, str):
        return Kernel(jnp.asarray(bandwidth, jnp.float32), name)
    if bandwidth == "median":
        return Kernel(_median_distance(shard, rows, is_used), name)
    if is_labelled is None:
        return Kernel(jnp.ones(()), name)
    return Kernel(_nearest_labelled(shard, rows, is_labelled), name)


def _median_distance(shard: Shard, rows: Embedding, is_used: Array) -> Array:
    """Returns the median distance of different rows, 1 where there are none."""
    count = shard.sum(jnp.sum(is_used, dtype=jnp.int32))
    ranks = jnp.arange(_SAMPLE) * jnp.maximum(count // _SAMPLE, 1)
    sample = shard.fetch(rows, shard.ranked_rows(is_used, ranks))
    distances = squared_distances(sample, sample.sqnorm(), sample)
    is_there = ranks < count
    is_pair = is_there[:, None] & is_there[None] & (distances > 0)
    ordered = jnp.sort(jnp.where(is_pair, distances, jnp.inf).ravel())
    middle = ordered[jnp.maximum(jnp.sum(is_pair) - 1, 0) // 2]
    return jnp.sqrt(jnp.where(jnp.isfinite(middle), middle, 1))


def _nearest_labelled(shard: Shard, rows: Embedding, is_labelled: Array) -> Array:
    """Returns the least distance of different labelled rows, 1 for fewer than two."""

    def among(block: Embedding, _: Array, is_row: Array, least: Array) -> Array:
        def lower(other: Embedding, _: Array, is_other: Array, least: Array) -> Array:
            distances = squared_distances(block, block.sqnorm(), other)
            is_pair = is_row[:, None] & is_other[None] & (distances > 0)
            found = jnp.min(jnp.where(is_pair, distances, jnp.inf))
            return jnp.minimum(least, found)

        return over_ranked(shard, rows, is_labelled, lower, least)

    start = jnp.full((), math.inf, rows.dtype)
    least = over_ranked(shard, rows, is_labelled, among, start)
    return jnp.sqrt(jnp.where(jnp.isfinite(least), least, 1))
