"""A pool whose rows lie in the memories of several processes.

Processes find each other through JAX, `jax.distributed.initialize()`. What is left to
do is here: each process hands over the rows it has read, and they become one pool.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxal.modes import held
from jaxal.pools.inputs import as_inputs
from jaxal.pools.inputs import num_rows as rows_of
from jaxal.pools.mesh import pool_mesh, spread_over
from jaxal.pools.pool import UNLABELLED, check_labels, pad_rows
from jaxal.types import Pool

# What the runtime says when it fails, as JaxRuntimeError or ValueError by turns.
_STATUS = re.compile(
    "(ABORTED|CANCELLED|DEADLINE|INTERNAL|UNAVAILABLE|UNKNOWN)[A-Z_]*:"
)
_ADVICE = (
    "If another of the {count} processes was lost (its own log says why), start the "
    "same command again on all of them: a run goes on after its last complete round."
)


def process_rows(num_rows: int, *, mesh: Mesh | None = None) -> slice:
    """Returns which rows of the pool this process holds.

    Rows are dealt out in order, as many to each device: of `N` rows on `P` devices,
    device `p` holds `p ceil(N / P)` and those that follow.

    Args:
      num_rows: rows `N` of the whole pool.
      mesh: where the rows live, by default `pool_mesh()`, every device there is.

    Returns:
      A slice of `0 .. N`, empty where padding is all that is left for this process.

    Raises:
      ValueError: devices of this process are not next to each other on the mesh.

    Example:
      >>> from jaxal.pools.processes import process_rows
      >>> process_rows(10)
      slice(0, 10, None)
    """
    mesh = pool_mesh() if mesh is None else mesh
    per_device = -(-num_rows // mesh.size)
    process = jax.process_index()
    mine = [i for i, d in enumerate(mesh.devices.flat) if d.process_index == process]
    if not mine or mine[-1] - mine[0] + 1 != len(mine):
        raise ValueError(
            f"Process {process} has devices {mine} of the mesh, expected some in a "
            "row. Make the mesh with jaxal.pool_mesh()."
        )
    start, stop = mine[0] * per_device, (mine[-1] + 1) * per_device
    return slice(min(start, num_rows), min(stop, num_rows))


def shard_process_rows(tree: Any, num_rows: int, *, mesh: Mesh | None = None) -> Any:
    """Returns arrays of the whole pool, made of the rows each process has.

    No row leaves its process. All processes call this alike, in the same order.

    Args:
      tree: a pytree of NumPy arrays `[n, ...]`, the rows `process_rows` names.
      num_rows: rows `N` of the whole pool.
      mesh: where the rows live, by default `pool_mesh()`, every device there is.

    Returns:
      A pytree of `[N', ...]` arrays sharded over "pool", where `N'` is `N` rounded up
      to the number of devices; rows that were added are zero (False).

    Raises:
      ValueError: an array has another number of rows.

    Example:
      >>> import numpy as np
      >>> from jaxal.pools.processes import process_rows, shard_process_rows
      >>> features = np.ones([8, 3], np.float32)  # a memory map, more likely
      >>> shard_process_rows(features[process_rows(8)], 8).shape
      (8, 3)
    """
    return _shard(tree, num_rows, pool_mesh() if mesh is None else mesh, 0)


def make_pool_from_process_data(
    inputs: Any,
    labels: ArrayLike | None = None,
    *,
    num_rows: int,
    mesh: Mesh | None = None,
) -> Pool:
    """Returns a pool over all processes, made of the rows each of them has.

    What `make_pool` does for one process. Selectors, the loop and everything else take
    the pool as they take any other; their results are the same on every process.

    Args:
      inputs: a pytree of `[n, ...]`, rows `process_rows(num_rows)` of what the model
        takes.
      labels: `[n]` integers of the same rows, -1 where nobody has answered.
      num_rows: rows `N` of the whole pool.
      mesh: where the rows live, by default `pool_mesh()`, every device there is.

    Returns:
      A `Pool` of `N` rounded up to the number of devices.

    Raises:
      ValueError: rows are missing, hold NaN or infinity, or labels are below -1.

    Example:
      >>> import numpy as np
      >>> from jaxal.pools.processes import make_pool_from_process_data, process_rows
      >>> inputs = np.zeros([6, 2], np.float32)[process_rows(6)]
      >>> int(make_pool_from_process_data(inputs, num_rows=6).is_available.sum())
      6
    """
    mesh = pool_mesh() if mesh is None else mesh
    inputs = as_inputs(inputs, may_be_empty=True)
    size = rows_of(inputs)
    known = np.full(size, UNLABELLED) if labels is None else np.asarray(labels)
    if size:
        check_labels(known, size)
    known = held("labels", known, np.int32)
    return Pool(
        inputs=_shard(inputs, num_rows, mesh, 0),
        labels=_shard(known, num_rows, mesh, UNLABELLED),
        is_labelled=_shard(known != UNLABELLED, num_rows, mesh, False),
        is_valid=_shard(np.ones(size, bool), num_rows, mesh, False),
        is_pending=_shard(np.zeros(size, bool), num_rows, mesh, False),
        is_spare=_shard(np.zeros(size, bool), num_rows, mesh, True),
    )


@contextlib.contextmanager
def advice_on_lost_process() -> Iterator[None]:
    """Adds to errors of the runtime what to do when a process has died.

    A process that dies takes the others with it: what they send each other fails at
    once, and the runtime ends them after `heartbeat_timeout_seconds`.

    Raises:
      Exception: the error as it came; with a note, if it is the runtime's and there
        are other processes.

    Example:
      >>> from jaxal.pools.processes import advice_on_lost_process
      >>> with advice_on_lost_process():
      ...     pass  # rounds of a run
    """
    try:
        yield
    except Exception as error:
        count = jax.process_count()
        if count > 1 and _STATUS.match(str(error)):
            error.add_note(_ADVICE.format(count=count))
        raise


def _shard(tree: Any, num_rows: int, mesh: Mesh, value: Any) -> Any:
    rows = process_rows(num_rows, mesh=mesh)
    per_device = -(-num_rows // mesh.size)
    sharding = spread_over(mesh)
    num_local = per_device * len(sharding.addressable_devices)

    def shard(leaf: Any) -> jax.Array:
        leaf = np.asarray(leaf)
        if leaf.shape[:1] != (rows.stop - rows.start,):
            raise ValueError(
                f"an array has {leaf.shape[0]} rows, expected {rows.stop - rows.start}"
                f", those of process_rows({num_rows}) on process {jax.process_index()}."
            )
        shape = (per_device * mesh.size, *leaf.shape[1:])
        padded = pad_rows(leaf, num_local, value)
        return jax.make_array_from_process_local_data(sharding, padded, shape)

    return jax.tree.map(shard, tree)
