"""Functions of single rows over a whole pool, in chunks of bounded memory."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal.pools.inputs import num_rows, one_row
from jaxal.pools.mesh import REPLICATED, SPREAD
from jaxal.types import Inputs

T = TypeVar("T")


def map_rows(
    fn: Callable[[Any], Any],
    inputs: Inputs,
    *,
    chunk_size: int = 1024,
    mesh: Mesh | None = None,
) -> Any:
    """Applies a row-wise function to a pool in chunks of bounded memory.

    Every device walks over its own rows; nothing crosses between devices.

    Args:
      fn: from `[B, ...]` to a pytree of `[B, ...]` arrays, each row by itself.
      inputs: a pytree of `[N, ...]`, with `N` divisible by the devices of `mesh`.
      chunk_size: rows `B` that are looked at together, on each device.
      mesh: the mesh `inputs` is sharded over, None for one device.

    Returns:
      A pytree of `[N, ...]` arrays, sharded as `inputs` is.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import map_rows
      >>> map_rows(lambda x: x.sum(-1), jnp.ones([5, 3]), chunk_size=2)
      Array([3., 3., 3., 3., 3.], dtype=float32)
    """
    outputs = row_buffers(fn, inputs, chunk_size=chunk_size)
    total = num_chunks(inputs, chunk_size, mesh)
    return map_some_rows(
        fn, inputs, outputs, 0, total, chunk_size=chunk_size, mesh=mesh
    )


def num_chunks(inputs: Inputs, chunk_size: int, mesh: Mesh | None) -> int:
    """Returns how many chunks the device with most rows walks over."""
    local = num_rows(inputs) // (1 if mesh is None else mesh.size)
    return -(-local // chunk_size)


def row_buffers(fn: Callable[[Any], Any], inputs: Inputs, *, chunk_size: int) -> Any:
    """Returns zeros of the shapes that `map_rows` fills, see `map_some_rows`."""
    size = num_rows(inputs)
    chunk = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct((min(chunk_size, size), *s.shape), s.dtype),
        one_row(inputs),
    )
    shapes = jax.eval_shape(fn, chunk)
    return jax.tree.map(lambda s: jnp.zeros((size, *s.shape[1:]), s.dtype), shapes)


def map_some_rows(
    fn: Callable[[Any], Any],
    inputs: Inputs,
    outputs: Any,
    first: Array | int,
    count: Array | int,
    *,
    chunk_size: int,
    mesh: Mesh | None = None,
) -> Any:
    """Fills in chunks `first .. first + count - 1` of what `map_rows` returns.

    Both are traced numbers, so one executable does a pool in any number of pieces.

    Args:
      fn: as for `map_rows`.
      inputs: a pytree of `[N, ...]`.
      outputs: what `row_buffers` or an earlier call returned.
      first: the first chunk.
      count: how many chunks.
      chunk_size: rows of a chunk, on each device.
      mesh: the mesh `inputs` is sharded over, None for one device.

    Returns:
      `outputs` with those rows filled in.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.pools.mapping import map_some_rows, row_buffers
      >>> rows, fn = jnp.ones([5, 3]), lambda x: x.sum(-1)
      >>> empty = row_buffers(fn, rows, chunk_size=2)
      >>> map_some_rows(fn, rows, empty, 0, 1, chunk_size=2)
      Array([3., 3., 0., 0., 0.], dtype=float32)
    """

    def local(rows: Inputs, outputs: Any, first: Array, count: Array) -> Any:
        return _fill(fn, rows, outputs, first, count, min(chunk_size, num_rows(rows)))

    first, count = jnp.asarray(first, jnp.int32), jnp.asarray(count, jnp.int32)
    if mesh is None or mesh.size == 1:
        return local(inputs, outputs, first, count)
    # The outputs vary over the mesh exactly as the rows do; nothing to check.
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(SPREAD, SPREAD, REPLICATED, REPLICATED),
        out_specs=SPREAD,
        check_vma=False,
    )(inputs, outputs, first, count)


def _fill(
    fn: Callable[[Any], Any],
    rows: Inputs,
    outputs: Any,
    first: Array,
    count: Array,
    chunk: int,
) -> Any:
    def body(i: Array, outputs: Any) -> Any:
        # The last chunk overlaps the one before instead of being padded: one
        # executable for every chunk, and no copy of the pool.
        start = jnp.minimum(i * chunk, num_rows(rows) - chunk)
        part = fn(
            jax.tree.map(
                lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, chunk), rows
            )
        )
        return jax.tree.map(
            lambda out, new: jax.lax.dynamic_update_slice_in_dim(out, new, start, 0),
            outputs,
            part,
        )

    return jax.lax.fori_loop(first, first + count, body, outputs)


def either(condition: Array, ours: T, theirs: T) -> T:
    """Returns one of two pytrees, by a condition that may be traced."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), ours, theirs)


def zeroed(is_kept: Array, leaf: Array, axis: int = 0) -> Array:
    """Returns an array, of zeros where `is_kept` [N] is False along `axis`."""
    shape = [1] * leaf.ndim
    shape[axis] = is_kept.size
    return jnp.where(is_kept.reshape(shape), leaf, jnp.zeros((), leaf.dtype))
