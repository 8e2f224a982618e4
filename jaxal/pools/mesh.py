"""One pool on many devices: who holds which rows, and the few things that cross."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

POOL_AXIS = "pool"
# Typed as what `out_specs` mixes them with: fields of pytrees.
SPREAD: Any = PartitionSpec(POOL_AXIS)
REPLICATED: Any = PartitionSpec()


def pool_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of one axis over which the rows of a pool are spread.

    Args:
      devices: the devices to use, all of them by default.

    Returns:
      A `Mesh` whose only axis is called `POOL_AXIS`.

    Example:
      >>> import jax
      >>> from jaxal import pool_mesh
      >>> dict(pool_mesh(jax.devices()[:1]).shape)
      {'pool': 1}
    """
    chosen = jax.devices() if devices is None else devices
    # Auto axes: with Explicit ones, lax.top_k on a sharded vector is refused.
    return Mesh(np.asarray(chosen), (POOL_AXIS,), axis_types=(AxisType.Auto,))


def spread_over(mesh: Mesh) -> NamedSharding:
    """Returns how arrays `[N, ...]` lie on a mesh: their rows in equal parts."""
    _check_axis(mesh)
    return NamedSharding(mesh, SPREAD)


def copied_to(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """Returns how arrays lie on a mesh of which every device has the whole."""
    return NamedSharding(mesh, REPLICATED)


class Shard(NamedTuple):
    """The rows one device holds: `num_rows` of them, in the order of the pool.

    Written once, selection code runs on one device (`axis` None, nothing crosses)
    and under `jax.shard_map` alike.
    """

    axis: str | None
    num_devices: int
    num_rows: int

    @property
    def device(self) -> Array | int:
        """Position of this device on the mesh axis."""
        return 0 if self.axis is None else jax.lax.axis_index(self.axis)

    @property
    def first_row(self) -> Array | int:
        """Number in the pool of this device's first row."""
        return self.device * self.num_rows

    def sum(self, tree: Any) -> Any:
        """Returns the sum over devices, on all of them."""
        return tree if self.axis is None else jax.lax.psum(tree, self.axis)

    def max(self, value: Array) -> Array:
        """Returns the largest value of any device, on all of them."""
        return value if self.axis is None else jax.lax.pmax(value, self.axis)

    def gather(self, tree: Any) -> Any:
        """Returns what every device has, stacked along a new first axis."""
        if self.axis is None:
            return jax.tree.map(lambda leaf: leaf[None], tree)
        return jax.lax.all_gather(tree, self.axis)

    def fetch(self, tree: Any, rows: Array) -> Any:
        """Returns rows `[M]` of the pool from whoever holds them, on all devices."""
        local, is_mine = self._locate(rows)
        return self.sum(jax.tree.map(lambda leaf: _pick(leaf, local, is_mine), tree))

    def clear(self, mask: Array, rows: Array) -> Array:
        """Returns this device's `mask`, False at `rows` [M] of the pool."""
        return mask.at[self._place(rows)].set(False, mode="drop")

    def add(self, values: Array, rows: Array, more: Array) -> Array:
        """Returns this device's `values`, with `more` [M] added at `rows`."""
        return values.at[self._place(rows)].add(more, mode="drop")

    def put(self, values: Array, rows: Array, new: Array) -> Array:
        """Returns this device's `values`, with `new` [M] in place at `rows`."""
        return values.at[self._place(rows)].set(new, mode="drop")

    def ranked_rows(self, mask: Array, ranks: Array) -> Array:
        """Returns the rows of the pool at which `mask` is True for the rank-th time."""
        counts = jnp.cumsum(mask, dtype=jnp.int32)
        totals = self.gather(counts[-1])
        before = jnp.sum(
            jnp.where(jnp.arange(self.num_devices) < self.device, totals, 0)
        )
        is_mine = (ranks >= before) & (ranks < before + counts[-1])
        found = jnp.searchsorted(counts, ranks - before + 1)
        return self.sum(jnp.where(is_mine, found + self.first_row, 0))

    def _place(self, rows: Array) -> Array:
        """Returns positions on this device, one past the end for rows elsewhere."""
        local, is_mine = self._locate(rows)
        return jnp.where(is_mine, local, self.num_rows)

    def _locate(self, rows: Array) -> tuple[Array, Array]:
        local = rows - self.first_row
        is_mine = (local >= 0) & (local < self.num_rows)
        return jnp.where(is_mine, local, 0), is_mine


def find_mesh(mesh: Mesh | None, rows: Any) -> Mesh | None:
    """Returns the mesh rows are spread over, None where one device has them all.

    Args:
      mesh: a mesh with an axis "pool", or None to ask the arrays; traced ones do not
        know, for them it is the mesh of `jax.set_mesh`, if any.
      rows: a pytree of `[N, ...]` arrays.

    Returns:
      `mesh`, or else that of the first array found sharded over "pool".

    Raises:
      ValueError: `mesh` has no axis "pool", or one that is not automatic.
    """
    if mesh is None:
        mesh = next(filter(None, map(_mesh_of, jax.tree.leaves(rows))), None)
    else:
        _check_axis(mesh)
    return None if mesh is None or mesh.shape[POOL_AXIS] == 1 else mesh


def _check_axis(mesh: Mesh) -> None:
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if kinds.get(POOL_AXIS) != AxisType.Auto:
        raise ValueError(
            f"mesh has axes {kinds}, expected one called '{POOL_AXIS}' of type Auto. "
            "Make it with jaxal.pool_mesh()."
        )


@contextlib.contextmanager
def in_force(mesh: Mesh | None, rows: Any) -> Iterator[None]:
    """Makes the mesh of rows known to what is traced inside, see `find_mesh`."""
    found = find_mesh(mesh, rows)
    is_traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(rows))
    is_new = isinstance(found, Mesh) and not is_traced  # tracing is inside already
    with jax.set_mesh(found) if is_new else contextlib.nullcontext():
        yield


def replicate(tree: Any, rows: Any) -> Any:
    """Returns arrays copied to every device that rows are on.

    Types carry the mesh they live on: a state that starts off it would be traced once
    more when it comes back from the first round.

    Args:
      tree: a pytree of arrays.
      rows: a pytree of `[N, ...]`, such as the pool they will be used with.

    Returns:
      The same pytree, replicated over the pool's mesh; unchanged while tracing.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import make_pool
      >>> from jaxal.pools.mesh import replicate
      >>> pool = make_pool(jnp.zeros([4, 1]))
      >>> replicate(jnp.ones(2), pool).sharding.is_fully_replicated
      True
    """
    mesh = next(filter(None, map(_mesh_of, jax.tree.leaves(rows))), None)
    return jax.device_put(tree, copied_to(mesh)) if isinstance(mesh, Mesh) else tree


def over_rows(
    fn: Callable[[Shard, Any, Any], Any],
    shared: Any,
    rows: Any,
    *,
    mesh: Mesh | None,
    out_specs: Any = REPLICATED,
) -> Any:
    """Returns `fn(shard, shared, local_rows)`, run on each device of `mesh`.

    Args:
      fn: sees a `Shard`, what is shared, and its own rows.
      shared: a pytree every device gets whole.
      rows: a pytree of `[N, ...]`; zeros are appended until the devices divide `N`,
        for which all rows are copied: `jaxal.make_pool` pads them once and for all.
      mesh: from `find_mesh`.
      out_specs: how outputs lie on the mesh; by default each device has the same.

    Returns:
      What `fn` returns, `SPREAD` outputs with `N` rows.
    """
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    if mesh is None:
        return fn(Shard(None, 1, num_rows), shared, rows)
    size = mesh.shape[POOL_AXIS]
    rows = jax.tree.map(partial(_pad, multiple=size), rows)
    shard = Shard(POOL_AXIS, size, -(-num_rows // size))
    # Loop carries mix replicated and local values; the picks' equality on all
    # devices is tested instead of inferred.
    found = jax.shard_map(
        partial(fn, shard),
        mesh=mesh,
        in_specs=(REPLICATED, SPREAD),
        out_specs=out_specs,
        check_vma=False,
    )(shared, rows)
    if num_rows % size == 0:
        return found
    return jax.tree.map(partial(_cut, num_rows), out_specs, found, is_leaf=_is_spec)


def _mesh_of(leaf: Any) -> Mesh | None:
    if isinstance(leaf, jax.core.Tracer):
        return _mesh_in_force()
    if not isinstance(leaf, jax.Array):
        return None
    sharding: Any = leaf.sharding
    is_spread = isinstance(sharding, NamedSharding) and sharding.spec[:1] == (
        POOL_AXIS,
    )
    return sharding.mesh if is_spread else None


def _mesh_in_force() -> Any:
    mesh = jax.sharding.get_abstract_mesh()
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    # Inside shard_map the axis is manual: there the rows are one device's own.
    return mesh if kinds.get(POOL_AXIS) == AxisType.Auto else None


def _pad(leaf: Array, multiple: int) -> Array:
    missing = -leaf.shape[0] % multiple
    if missing == 0:
        return leaf
    return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))


def _cut(num_rows: int, spec: PartitionSpec, found: Any) -> Any:
    if spec != SPREAD:
        return found
    return jax.tree.map(lambda leaf: leaf[:num_rows], found)


def _is_spec(value: Any) -> bool:
    return isinstance(value, PartitionSpec)


def _pick(leaf: Array, local: Array, is_mine: Array) -> Array:
    keep = is_mine.reshape(is_mine.shape + (1,) * (leaf.ndim - 1))
    return jnp.where(keep, leaf[local], jnp.zeros((), leaf.dtype))
