"""Counting the work of a traced function, without running or compiling it."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxal.selection.engine.by_distance import BLOCKED_CALL

# Moving data about costs bytes, not operations.
_FREE = {
    "broadcast_in_dim",
    "concatenate",
    "convert_element_type",
    "copy",
    "device_put",
    "dynamic_slice",
    "dynamic_update_slice",
    "gather",
    "iota",
    "pad",
    "reshape",
    "rev",
    "scatter",
    "select_n",
    "slice",
    "split",
    "squeeze",
    "stop_gradient",
    "transpose",
}
_REDUCTIONS = ("reduce_", "argmax", "argmin", "cum")


class Blocked(NamedTuple):
    """A blocked greedy selection (`engine.by_distance`) found in a function."""

    num_rows: int
    num_products: int  # of one inner product between two rows
    num_picks: int


class Work(NamedTuple):
    """What a function does; loops of unknown length are counted once."""

    flops: float
    blocked: tuple[Blocked, ...] = ()
    num_unknown_loops: int = 0

    def __add__(self, other: Any) -> "Work":
        return Work(*(mine + its for mine, its in zip(self, other, strict=True)))

    def times(self, count: int) -> "Work":
        return self._replace(flops=self.flops * count)


def work_of(jaxpr: Any, trips: int | None = None) -> Work:
    """Returns the work of a jaxpr, as `jax.make_jaxpr` makes it.

    Args:
      jaxpr: a `ClosedJaxpr` or a `Jaxpr`.
      trips: how often loops of unknown length go round, None if nobody knows.

    Returns:
      `Work`. Blocked selections are listed, and not counted in `flops`: how often they
      go round depends on the data.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.planning.costs import work_of
      >>> work_of(jax.make_jaxpr(jnp.dot)(jnp.ones([2, 3]), jnp.ones([3, 4]))).flops
      48.0
    """
    inner = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    total = Work(0.0)
    for eqn in inner.eqns:
        total = total + _work_of_eqn(eqn, trips)
    return total


def _work_of_eqn(eqn: Any, trips: int | None) -> Work:
    name, params = eqn.primitive.name, eqn.params
    if found := _blocked(eqn):
        return Work(0.0, (found,))
    if name == "scan":
        return work_of(params["jaxpr"], trips).times(params["length"])
    if name == "while":
        once = work_of(params["body_jaxpr"], trips)
        return once + Work(0.0, (), 1) if trips is None else once.times(trips)
    if name == "cond":
        branches = [work_of(branch, trips) for branch in params["branches"]]
        return max(branches, key=lambda work: work.flops)
    inner = list(_jaxprs_in(params))
    if inner and not name.startswith("reduce"):
        return sum((work_of(jaxpr, trips) for jaxpr in inner), Work(0.0))
    return Work(float(_flops(name, eqn)))


def _flops(name: str, eqn: Any) -> int:
    out = math.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
    sizes = [math.prod(getattr(var.aval, "shape", ())) for var in eqn.invars]
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        shape = eqn.invars[0].aval.shape
        return 2 * out * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        channels = eqn.params["dimension_numbers"].rhs_spec[0]
        return 2 * out * sizes[1] // eqn.invars[1].aval.shape[channels]
    if name in ("sort", "top_k"):
        length = eqn.invars[0].aval.shape[-1]
        return int(sizes[0] * max(1.0, math.log2(max(length, 2))))
    if name in _FREE:
        return 0
    return sizes[0] if name.startswith(_REDUCTIONS) else out


def _blocked(eqn: Any) -> Blocked | None:
    """Returns what a call of `blocked_selection` is asked to do."""
    if eqn.params.get("name") != BLOCKED_CALL:
        return None
    picks = eqn.outvars[0].aval
    rows = [var.aval for var in eqn.invars if getattr(var.aval, "ndim", 0) >= 1]
    num_products = sum(math.prod(aval.shape[1:]) for aval in rows if aval.ndim > 1)
    return Blocked(rows[0].shape[0], num_products, picks.shape[0])


def _jaxprs_in(params: dict[str, Any]) -> Iterator[ClosedJaxpr | Jaxpr]:
    leaves = jax.tree.leaves(
        params, is_leaf=lambda x: isinstance(x, ClosedJaxpr | Jaxpr)
    )
    return (leaf for leaf in leaves if isinstance(leaf, ClosedJaxpr | Jaxpr))
