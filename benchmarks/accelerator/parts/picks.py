"""Whether the device picks what the CPU picks, up to ties in float32.

Matrix units may round float32 to TF32, eleven bits, where a product does not ask for
more. So a strategy whose picks differ is asked again with all products in float32, and
every row says which precision the products of its program ask for.
"""

import collections
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

import jaxal
from accelerator.parts.laws import in_order, in_small_programs
from accelerator.plan import Context, Row
from accelerator.scales import PoolSize
from accelerator.subjects.arrays import view_of

TIE = 1e-4  # relative difference of scores within which float32 cannot tell


def measure(context: Context) -> Iterator[Row]:
    """Yields a row for every strategy."""
    checks = context.scale.checks
    job, names = partial(compare, size=checks.pool), checks.picks or in_order()
    for name, answer in in_small_programs(job, names, context):
        yield {"name": name, "size": str(checks.pool), **answer}


def compare(name: str, size: PoolSize) -> Row:
    """Returns what one strategy picks, here and on the CPU."""
    chosen = jaxal.strategy(name)
    # One and the same bits for both: made here, carried there.
    view = jax.tree.map(np.asarray, view_of(chosen, size))
    cpu = _picks(chosen, view, size, jax.devices("cpu")[0])
    start = time.perf_counter()
    here = _picks(chosen, view, size, jax.devices()[0])
    row = {"seconds": time.perf_counter() - start, **verdict(cpu, here)}
    if not row["picks"].startswith("same"):
        with jax.default_matmul_precision("highest"):
            exact = _picks(chosen, view, size, jax.devices()[0])
        row["in_float32"] = verdict(cpu, exact)["picks"]
    return row | {"precision": precisions(chosen, view, size)}


def verdict(expected: tuple, found: tuple) -> Row:
    """Returns whether picks are the `same`, or `tie` or `differ` from where on.

    Args:
      expected: rows `[K]` and their scores `[K]`, on the CPU.
      found: those on the device.
    """
    (rows, scores), (others, their_scores) = expected, found
    shared = len(np.intersect1d(rows, others))
    row: Row = {"shared": f"{shared} of {len(rows)}"}
    if not (places := np.flatnonzero(rows != others)).size:
        return row | {"picks": "same"}
    first = places[0]
    gap = abs(float(scores[first]) - float(their_scores[first]))
    gap /= max(1e-30, abs(float(scores[first])))
    said = "tie" if gap <= TIE else "differ"
    return row | {"picks": f"{said} from pick {first + 1} on", "gap": gap}


def precisions(chosen: jaxal.Strategy, view: jaxal.View, size: PoolSize) -> str:
    """Returns which precision the products of a strategy's program ask for."""

    def select(key: Any, view: jaxal.View) -> jaxal.Selection:
        return chosen.select(key, view, size.batch_size)

    found = collections.Counter(_asked(jax.make_jaxpr(select)(jax.random.key(0), view)))
    return ", ".join(f"{count} {name}" for name, count in found.most_common())


def _asked(jaxpr: Any) -> Iterator[str]:
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            asked = equation.params["precision"]
            one = asked[0] if isinstance(asked, tuple) else asked
            yield "nothing" if one is None else str(getattr(one, "name", one))
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from _asked(inner)


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns")


def _picks(
    chosen: jaxal.Strategy, view: jaxal.View, size: PoolSize, device: Any
) -> tuple[np.ndarray, np.ndarray]:
    with jax.default_device(device):
        key = jax.device_put(jax.random.key(1), device)
        placed = jax.device_put(view, device)
        # Anew each time: precision is no part of what `jit` remembers a function by.
        select = jax.jit(lambda key, view: chosen.select(key, view, size.batch_size))
        found = select(key, placed)
    return np.asarray(found.indices), np.asarray(found.scores, np.float64)
