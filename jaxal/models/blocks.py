"""Passing a batch through in blocks that stay in a core's cache."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

# Of inputs; a few times as much of intermediate results then fits the L2 cache.
BLOCK_BYTES = 2**19


def block_rows(inputs: Array, weights: Array) -> int:
    """How many of the rows `[B, ...]` to take at a time.

    Every block reads all weights, so where these are many a block is larger.
    """
    rows = inputs.shape[0]
    wanted = max(BLOCK_BYTES, weights.size * weights.dtype.itemsize // 4)
    bytes_per_row = max(1, inputs.size // max(1, rows) * inputs.dtype.itemsize)
    num_blocks = -(-rows // max(1, wanted // bytes_per_row))
    return -(-rows // max(1, num_blocks))


def map_blocks(fn: Callable[[Array], Array], inputs: Array, size: int) -> Array:
    """`fn` of `[B, ...]`, `size` rows at a time."""
    if size >= inputs.shape[0]:
        return fn(inputs)
    outputs = lax.map(fn, _in_blocks(inputs, size))
    return outputs.reshape(-1, *outputs.shape[2:])[: inputs.shape[0]]


def map_and_sum_blocks(
    fn: Callable[[Array, Array], tuple[Array, Array]],
    inputs: tuple[Array, Array],
    size: int,
) -> tuple[Array, Array]:
    """Maps the first result of `fn` over blocks of two arrays, sums the second.

    Rows that pad the last block are zero, so `fn` must make nothing of them.
    """
    num_rows = inputs[0].shape[0]
    if size >= num_rows:
        return fn(*inputs)

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, Array]:
        mapped, summed = fn(*block)
        return total + summed, mapped

    blocks = (_in_blocks(inputs[0], size), _in_blocks(inputs[1], size))
    summed = jax.eval_shape(fn, blocks[0][0], blocks[1][0])[1]
    total, mapped = lax.scan(add, jnp.zeros(summed.shape, summed.dtype), blocks)
    return mapped.reshape(-1, *mapped.shape[2:])[:num_rows], total


def _in_blocks(rows: Array, size: int) -> Array:
    padding = -rows.shape[0] % size
    if padding:
        rows = jnp.pad(rows, ((0, padding), *((0, 0),) * (rows.ndim - 1)))
    return rows.reshape(-1, size, *rows.shape[1:])


def contract_rows(left: Array, right: Array) -> Array:
    """Sum of outer products over all axes but the last: `[..., M], [..., N] -> [M, N]`.

    Flattened first: a product that contracts several axes is given transposed copies.
    """
    rows = (left.reshape(-1, left.shape[-1]), right.reshape(-1, right.shape[-1]))
    return lax.dot_general(*rows, (((0,), (0,)), ((), ())))
