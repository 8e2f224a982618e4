"""Chance over a pool in blocks of fixed size, so that devices do not change it.

A row's random numbers and a draw's path depend on the row's number in the pool and
on sums over blocks of `ROW_BLOCK` rows, wherever those rows live.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxal import linalg
from jaxal.pools.mesh import Shard

ROW_BLOCK = 256


_LOTS = 2**32 - 1  # folded into a key for lots: no block of rows has this number


def row_gumbel(key: Array, shard: Shard) -> Array:
    """Returns standard Gumbel noise, one number for each row of this device."""
    return _per_row(key, shard, lambda key: jax.random.gumbel(key, (ROW_BLOCK,)))


def row_lots(key: Array, shard: Shard) -> Array:
    """Returns the lots by which equal rows of this device are told apart, int32.

    The key may be that of a call which draws other things with it as well.
    """
    return _per_row(jax.random.fold_in(key, jnp.uint32(_LOTS)), shard, _block_lots)


def lots_of(key: Array, rows: Array) -> Array:
    """Returns the lots [K] of a few rows of the pool, as `row_lots` has them."""
    key = jax.random.fold_in(key, jnp.uint32(_LOTS))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows // ROW_BLOCK)
    places = rows % ROW_BLOCK
    return jax.vmap(lambda key, place: _block_lots(key)[place])(keys, places)


def _block_lots(key: Array) -> Array:
    bits = jax.random.bits(key, (ROW_BLOCK,), jnp.uint32)
    return (bits >> 1).astype(jnp.int32)


def _per_row(key: Array, shard: Shard, draw: Callable[[Array], Array]) -> Array:
    """Returns this device's `[L]` of what `draw(key)` gives each block of rows."""
    first_block = shard.first_row // ROW_BLOCK
    # Where devices cut blocks in two, one more block is looked into.
    num_blocks = -(-shard.num_rows // ROW_BLOCK) + (shard.axis is not None)
    blocks = first_block + jnp.arange(num_blocks)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, blocks)
    start = shard.first_row - first_block * ROW_BLOCK
    return lax.dynamic_slice_in_dim(
        jax.vmap(draw)(keys).reshape(-1), start, shard.num_rows
    )


def perturb(key: Array, shard: Shard, log_weights: Array) -> Array:
    """Returns `log_weights` [L] plus the rows' Gumbel noise; -inf stays lowest."""
    noise = row_gumbel(key, shard)
    # Rows without weight come after all others, among themselves at random.
    last = jnp.finfo(noise.dtype).min * (0.5 + 0.5 * jnp.exp(-jnp.exp(noise)))
    noisy = log_weights.astype(noise.dtype) + noise
    return jnp.where(log_weights == -jnp.inf, last, noisy)


def draw_rows(uniform: Array, shard: Shard, weights: Array) -> Array:
    """Draws rows of the pool with replacement, in proportion to `weights`.

    An inverse CDF in three steps (a run of blocks, a block, a row), each with its own
    uniform number: one number for ten million rows would leave most of them out.

    Args:
      uniform: `[3, M]` numbers in [0, 1), for `M` draws.
      shard: which rows this device holds.
      weights: `[L]`, those of this device's rows, not negative.

    Returns:
      `[M]` int32 rows of the pool, the same on every device; of no meaning where all
      weights are zero.
    """
    blocks, block_numbers = _owned_blocks(shard, weights)
    sums = _gather_sums(shard, jnp.sum(blocks, axis=-1))
    runs = sums.reshape(-1, ROW_BLOCK)
    run = _invert(uniform[0], jnp.sum(runs, axis=-1)[None])
    block = run * ROW_BLOCK + _invert(uniform[1], runs[run])

    local = block - block_numbers[0]
    is_mine = (local >= 0) & (local < blocks.shape[0])
    is_mine &= block_numbers[jnp.where(is_mine, local, 0)] == block
    row = block * ROW_BLOCK + _invert(uniform[2], blocks[jnp.where(is_mine, local, 0)])
    return shard.sum(jnp.where(is_mine, row, 0))


def _owned_blocks(shard: Shard, weights: Array) -> tuple[Array, Array]:
    """Returns `[G, ROW_BLOCK]` weights of the blocks that begin here, and numbers."""
    numbers = jnp.asarray(_block_table(shard))[shard.device]
    missing = jnp.zeros(ROW_BLOCK, weights.dtype)
    whole = jnp.concatenate([weights, _following(shard, weights), missing])
    start = -shard.first_row % ROW_BLOCK
    flat = lax.dynamic_slice_in_dim(whole, start, numbers.size * ROW_BLOCK)
    is_owned = numbers < _num_blocks(shard)
    return jnp.where(is_owned[:, None], flat.reshape(-1, ROW_BLOCK), 0), numbers


def _following(shard: Shard, weights: Array) -> Array:
    """Returns the `ROW_BLOCK` weights that come after this device's in the pool."""
    if shard.axis is None:
        return jnp.zeros(ROW_BLOCK, weights.dtype)
    heads = shard.gather(weights[:ROW_BLOCK])
    row = shard.first_row + shard.num_rows + jnp.arange(ROW_BLOCK)
    device, position = row // shard.num_rows, row % shard.num_rows
    is_there = device < shard.num_devices
    return jnp.where(is_there, heads[jnp.where(is_there, device, 0), position], 0)


def _gather_sums(shard: Shard, sums: Array) -> Array:
    """Returns the sums of all blocks in order, with zeros up to a whole run."""
    size = -(-_num_blocks(shard) // ROW_BLOCK) * ROW_BLOCK
    table = jnp.asarray(_block_table(shard, absent=size))
    return jnp.zeros(size, sums.dtype).at[table].set(shard.gather(sums), mode="drop")


def _num_blocks(shard: Shard) -> int:
    return -(-shard.num_devices * shard.num_rows // ROW_BLOCK)


def _block_table(shard: Shard, absent: int | None = None) -> np.ndarray:
    """Returns `[devices, G]` numbers of the blocks that begin on each device."""
    edges = np.arange(shard.num_devices + 1) * shard.num_rows
    first = -(-edges // ROW_BLOCK)
    most = int(np.max(np.diff(first)))
    table = first[:-1, None] + np.arange(most)
    missing = _num_blocks(shard) if absent is None else absent
    return np.where(table < first[1:, None], table, missing).astype(np.int32)


def _invert(uniform: Array, weights: Array) -> Array:
    """Returns where the CDF of `weights` [M, W] passes `uniform` [M]."""
    size = weights.shape[-1]
    # A product adds up every prefix in the same order, so the CDF never decreases and
    # stays put where a weight is zero: such a row cannot be drawn.
    is_before = jnp.triu(jnp.ones((size, size), weights.dtype))
    cdf = linalg.product(weights, is_before)
    is_passed = cdf <= uniform[:, None] * cdf[:, -1:]
    return jnp.minimum(jnp.sum(is_passed, axis=-1, dtype=jnp.int32), size - 1)
