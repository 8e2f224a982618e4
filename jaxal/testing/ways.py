"""Ways of running a strategy that must agree: as the loop does, whole, at once."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxal.pools.mapping import map_rows
from jaxal.pools.mesh import POOL_AXIS, pool_mesh
from jaxal.testing.pools import BATCH_SIZE, NUM_ROWS, HostilePool
from jaxal.types import Selection, Strategy, View
from jaxal.viewing import PER_ROW

CHUNK_SIZE = 16  # does not divide the rows, so that the last chunk overlaps


def whole_view(strategy: Strategy, pool: HostilePool) -> View:
    """Returns a view with all that `needs` and `streams` name, and no rows."""
    names = strategy.needs | strategy.streams
    return _view(pool, {name for name in (*PER_ROW, "labels") if name in names})


def loop_view(strategy: Strategy, pool: HostilePool, rows: Any) -> View:
    """Returns what the loop hands to `select`: `needs`, and what rowwise found."""
    return _view(pool, set(strategy.needs))._replace(rows=rows)


def row_finder(strategy: Strategy) -> Callable[[HostilePool], Any]:
    """Returns the function that computes rows of a pool as the loop does, at once."""
    if strategy.rowwise is None:
        return lambda pool: None
    rowwise = jax.jit(strategy.rowwise, compiler_options=quick_compilation())
    return lambda pool: rowwise(_rowwise_view(strategy, pool))


def rows_in_chunks(strategy: Strategy, pool: HostilePool) -> Any:
    """Returns what rowwise finds when it sees the pool in chunks."""
    view = _rowwise_view(strategy, pool)
    # Rows first, for samples as well: the axis that is cut.
    rows_first = view._replace(samples=_swapped(view.samples))

    def chunk(rows: Array) -> Any:
        part = jax.tree.map(lambda leaf: leaf[rows], rows_first)
        return strategy.rowwise(part._replace(samples=_swapped(part.samples)))  # type: ignore[misc]

    in_chunks = functools.partial(map_rows, chunk, chunk_size=CHUNK_SIZE)
    compiled = jax.jit(in_chunks, compiler_options=quick_compilation())
    return compiled(jnp.arange(NUM_ROWS))


def over_keys(
    strategy: Strategy, way: Callable[..., Any]
) -> Callable[[Array, View], Selection]:
    """Returns the compiled function that chooses with many keys, `way` saying how."""

    def choose(keys: Array, view: View) -> Selection:
        return way(lambda key: strategy.select(key, view, BATCH_SIZE))(keys)

    return compiled(choose)


def scan_of(fn: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """Returns `fn` over the first axis of its argument, in a scan."""
    return lambda xs: jax.lax.scan(lambda _, x: (None, fn(x)), None, xs)[1]


def scan_of_vmap(fn: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """Returns `fn` over two axes: a scan over the first, a vmap over the second."""
    return scan_of(jax.vmap(fn))


def compiled(fn: Callable[..., Selection]) -> Callable[..., Selection]:
    """Returns `fn` under jit, compiled as fast as can be."""
    return jax.jit(fn, compiler_options=quick_compilation())


def spread(view: View, mesh: Mesh | None) -> View:
    """Returns a view whose rows are sharded over a mesh, if there is one."""
    if mesh is None:
        return view

    def put(leaf: Array) -> Array:
        is_samples = leaf is view.samples
        spec = PartitionSpec(*(None,) * is_samples, POOL_AXIS)
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(put, view)


def widest_mesh() -> Mesh | None:
    """Returns a mesh of as many devices as divide the rows, None for a single one."""
    devices = jax.devices()
    counts = [n for n in range(1, len(devices) + 1) if NUM_ROWS % n == 0]
    return None if counts[-1] == 1 else pool_mesh(devices[: counts[-1]])


def in_force(mesh: Mesh | None) -> Any:
    """A context in which traced code knows the mesh, as in the loop."""
    return contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh)


@functools.cache
def quick_compilation() -> dict[str, Any] | None:
    """Returns options that make XLA compile three times faster, where it knows them."""
    options = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_use_fusion_emitters": False,
    }
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0)
    except Exception:  # another XLA, which calls them something else
        return None
    return options


def _view(pool: HostilePool, names: set[str]) -> View:
    arrays = {name: jnp.asarray(getattr(pool, name)) for name in sorted(names)}
    masks = map(jnp.asarray, (pool.is_available, pool.is_labelled))
    return View(*masks, **arrays)


def _rowwise_view(strategy: Strategy, pool: HostilePool) -> View:
    nobody = jnp.asarray(np.zeros(NUM_ROWS, bool))
    view = whole_view(strategy, pool)
    return view._replace(is_available=~nobody, is_labelled=nobody, labels=None)


def _swapped(samples: Array | None) -> Array | None:
    return None if samples is None else jnp.swapaxes(samples, 0, 1)
