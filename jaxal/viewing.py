"""Looking at the pool: everything a strategy needs, computed in one pass."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, NamedSharding

from jaxal.pacing import paced
from jaxal.pools.mapping import map_some_rows, num_chunks, row_buffers
from jaxal.pools.mesh import POOL_AXIS
from jaxal.types import Pool, Posterior, Strategy, View

PER_ROW = ("logits", "samples", "features", "inputs")


class Looked(NamedTuple):
    """A view, and whether it can be trusted."""

    view: View
    num_bad_rows: Array  # [] int32 rows whose outputs are NaN or +inf


def make_look(
    posterior: Posterior, strategy: Strategy, chunk_size: int, mesh: Mesh | None
) -> Callable[..., Looked]:
    """Returns the function that computes a strategy's view of a pool.

    Args:
      posterior: where logits, samples and features come from.
      strategy: whose `needs` and `streams` are computed, and nothing else.
      chunk_size: rows looked at together, on each device.
      mesh: the mesh of the pool, None for that of its arrays.

    Returns:
      A function of `(key, variables, pool, progress=None)`.

    Raises:
      ValueError: the strategy needs a field that no view has.
    """
    _check_needs(strategy)
    cache: dict[Mesh | None, Look] = {}

    def look(key: Array, variables: Any, pool: Pool, progress: Any = None) -> Looked:
        where = pool_of(pool.inputs) if mesh is None else mesh
        if where not in cache:
            cache[where] = _compile(posterior, strategy, chunk_size, where)
        whole, piecewise = cache[where]
        if progress is None:
            return whole(key, variables, pool)
        return piecewise(key, variables, pool, progress)

    return look


def pool_of(array: Array) -> Mesh | None:
    """Returns the mesh a concrete array is sharded over, None where there is none."""
    if isinstance(array, jax.core.Tracer) or not isinstance(array, jax.Array):
        return None
    sharding = array.sharding
    if not isinstance(sharding, NamedSharding) or sharding.mesh.size == 1:
        return None
    return sharding.mesh if POOL_AXIS in sharding.mesh.axis_names else None  # type: ignore[return-value]


class Look(NamedTuple):
    """Two ways through a pool, with one result: at once, or in pieces."""

    whole: Callable[[Array, Any, Pool], Looked]
    piecewise: Callable[[Array, Any, Pool, Any], Looked]


def _compile(
    posterior: Posterior, strategy: Strategy, chunk_size: int, mesh: Mesh | None
) -> Look:
    def per_row(key: Array, variables: Any) -> Callable[[Array], Any]:
        return lambda rows: _look_at_chunk(posterior, strategy, key, variables, rows)

    def start(key: Array, variables: Any, pool: Pool) -> Any:
        return row_buffers(per_row(key, variables), pool.inputs, chunk_size=chunk_size)

    def fill(
        outputs: Any, key: Array, variables: Any, pool: Pool, first: Any, count: Any
    ) -> Any:
        fn = per_row(key, variables)
        return map_some_rows(
            fn, pool.inputs, outputs, first, count, chunk_size=chunk_size, mesh=mesh
        )

    def finish(outputs: Any, pool: Pool) -> Looked:
        return _as_view(strategy, outputs, pool)

    def whole(key: Array, variables: Any, pool: Pool) -> Looked:
        outputs = start(key, variables, pool)
        count = num_chunks(pool.inputs, chunk_size, mesh)
        return finish(fill(outputs, key, variables, pool, 0, count), pool)

    start_jit, finish_jit = jax.jit(start), jax.jit(finish)
    fill_jit = jax.jit(fill, donate_argnums=0)

    def piecewise(key: Array, variables: Any, pool: Pool, progress: Any) -> Looked:
        outputs = start_jit(key, variables, pool)
        num_rows, count = (
            pool.labels.shape[0],
            num_chunks(pool.inputs, chunk_size, mesh),
        )

        def run(done: int, size: int) -> None:
            nonlocal outputs
            first = jnp.int32(done)
            outputs = fill_jit(outputs, key, variables, pool, first, jnp.int32(size))
            jax.block_until_ready(outputs)

        def in_rows(done: int, total: int) -> None:
            progress(num_rows * done // total, num_rows)

        paced(run, count, in_rows)
        return finish_jit(outputs, pool)

    return Look(jax.jit(whole), piecewise)


def _as_view(strategy: Strategy, outputs: Any, pool: Pool) -> Looked:
    fields, rows, is_bad = outputs
    fields = dict(fields)
    if "samples" in fields:
        fields["samples"] = jnp.moveaxis(fields["samples"], 0, 1)
    if "inputs" in strategy.needs:
        fields["inputs"] = pool.inputs
    labels = pool.labels if "labels" in strategy.needs else None
    view = View(pool.is_available, pool.is_labelled, labels, rows=rows, **fields)
    return Looked(view, (is_bad & pool.is_valid).sum(dtype=jnp.int32))


def _look_at_chunk(
    posterior: Posterior, strategy: Strategy, key: Array, variables: Any, inputs: Array
) -> tuple[dict[str, Array], Any, Array]:
    wanted = strategy.needs | strategy.streams
    found: dict[str, Any] = {"inputs": inputs}
    is_bad = jnp.zeros(inputs.shape[0], bool)
    if wanted & {"logits", "features"}:
        output = posterior.predict(variables, inputs)
        found["logits"], found["features"] = output.logits, output.features
        is_bad |= _is_bad(output.logits).any(axis=-1)
    if "samples" in wanted:
        found["samples"] = posterior.sample(key, variables, inputs).logits
        is_bad |= _is_bad(found["samples"]).any(axis=(0, -1))
    if "features" in wanted:
        is_bad |= ~jnp.isfinite(_features(found, strategy)).all(axis=-1)
    whole = {n: found[n] for n in PER_ROW if n in strategy.needs and n != "inputs"}
    if "samples" in whole:  # rows first, as every other field
        whole["samples"] = jnp.moveaxis(whole["samples"], 1, 0)
    return whole, _rowwise(strategy, found, inputs.shape[0]), is_bad


def _rowwise(strategy: Strategy, found: dict[str, Any], num_rows: int) -> Any:
    if strategy.rowwise is None:
        return None
    seen = {n: found[n] for n in PER_ROW if n in strategy.streams | strategy.needs}
    nobody = jnp.zeros(num_rows, bool)
    return strategy.rowwise(View(~nobody, nobody, **seen))


def _features(found: dict[str, Any], strategy: Strategy) -> Array:
    if found["features"] is None:
        raise ValueError(
            f"Strategy {strategy.name!r} needs features, and the model returns none. "
            "Return Output(logits, features), features being what the last layer sees."
        )
    return found["features"]


def _is_bad(logits: Array) -> Array:
    # -inf is a probability of zero, which is fine; +inf and NaN are not.
    return jnp.isnan(logits) | (logits == jnp.inf)


def _check_needs(strategy: Strategy) -> None:
    known = {*PER_ROW, "labels"}
    unknown = (strategy.needs | strategy.streams) - known
    if unknown:
        raise ValueError(
            f"Strategy {strategy.name!r} needs {sorted(unknown)}; a view has "
            f"{sorted(known)}."
        )
    if strategy.streams and strategy.rowwise is None:
        raise ValueError(
            f"Strategy {strategy.name!r} streams {sorted(strategy.streams)} but has no "
            "rowwise function to read it. Name it in needs, or pass rowwise=."
        )
