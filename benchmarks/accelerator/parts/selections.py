"""Batches of many picks from large pools."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import workloads
from harness import failure

import jaxal
from accelerator.measuring import compiled, timed_calls
from accelerator.plan import Context, Row
from accelerator.scales import PoolSize
from accelerator.subjects.arrays import view_of

# BADGE and Core-set have a floor: the products that an exact method cannot do without.
_WORKS = {"badge": "badge", "coreset": "coreset"}


def measure(context: Context) -> Iterator[Row]:
    """Yields a row for every strategy and pool, the smaller pools first."""
    for size in context.scale.pools:
        for name in context.scale.selections:
            try:
                yield selection(name, size, context)
            except Exception as error:  # for want of memory, say: the others still run
                yield about(name, size) | {"status": failure(error)}


def about(name: str, size: PoolSize) -> Row:
    """Returns what is known before: name, size, least operations and bytes."""
    fields = set(workloads.Workload._fields) & set(size._fields)
    sizes = {field: getattr(size, field) for field in fields}
    work = workloads.Workload(_WORKS.get(name, name), **sizes)
    return {
        "name": name,
        "size": str(size),
        "bytes": work.bytes,
        "flops": work.flops,
        "unit": "float32",
    }


def selection(name: str, size: PoolSize, context: Context) -> Row:
    """Times a strategy by name, each call with another key, from view to picks."""
    chosen = jaxal.strategy(name)
    view = view_of(chosen, size)

    def select(key: Any, view: jaxal.View) -> jaxal.Selection:
        return chosen.select(key, view, size.batch_size)

    def check(picks: jaxal.Selection) -> None:
        _check(picks, view, size.batch_size)

    keys = jax.random.split(jax.random.key(1), context.scale.repeats + 1)
    program = compiled(select, keys[0], view)
    inputs, repeats = [(key, view) for key in keys], context.scale.repeats
    row = timed_calls(program.call, inputs, repeats=repeats, check=check)
    return about(name, size) | row | program.facts(context, *inputs[0])


def _check(selection: jaxal.Selection, view: jaxal.View, batch_size: int) -> None:
    """A fast wrong answer is no answer."""
    picks = np.asarray(selection.indices)[np.asarray(selection.is_valid)]
    most = min(batch_size, int(view.is_available.sum()))
    if len(np.unique(picks)) != most:
        raise AssertionError(f"{len(np.unique(picks))} distinct picks, not {most}")
    if not np.asarray(view.is_available)[picks].all():
        raise AssertionError("rows were picked that are not available")
