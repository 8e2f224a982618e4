"""What a user's module returned: its logits, and features only where they are right."""

import difflib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.core.tracers import current_trace
from jax import Array

from jaxal.types import Output


class Call(NamedTuple):
    """One call of a layer."""

    inputs: Any  # its first argument
    output: Any


Features = str | Callable[[Mapping[str, Call]], Array]
"""A layer whose output is the features, or a function of all layers' calls by path."""

Run = Callable[[Any], tuple[Any, "Watch"]]
"""Calls the module once more: what it returns, and what its layers do."""


class _Calls(dict[str, Call]):
    """Calls by path, which say what there is instead of what is not there."""

    def __missing__(self, path: str) -> Call:
        nearest = difflib.get_close_matches(path, self, n=1, cutoff=0.0)
        raise ValueError(
            f"features names {path!r}, expected a layer the module calls (outside "
            f"scan, remat and jit): {', '.join(sorted(filter(None, self)))}. "
            f"Did you mean {nearest[0]!r}?"
        )


class Watch:
    """Remembers the calls of layers during one call of a module."""

    def __init__(self, everything: bool) -> None:
        self.calls = _Calls()
        self.heads: list[Call] = []  # of dense layers on rows `[B, D]`
        self._everything = everything
        self._trace = current_trace()

    def record(self, path: tuple, is_dense: bool, call: Call) -> None:
        # What layers inside scan, remat or jit see must not leave these.
        if current_trace() != self._trace:
            return
        if self._everything:
            self.calls["/".join(map(str, path))] = call
        if is_dense and jnp.ndim(call.inputs) == jnp.ndim(call.output) == 2:
            self.heads.append(call)


def is_dense(layer: Any) -> bool:
    """Whether `layer(x)` is `x @ kernel + bias` for `x` of `[B, D]`."""
    # Layers derived from these, such as LoRALinear, compute something else.
    if type(layer) in (nn.Dense, nnx.Linear):
        return True
    if type(layer) not in (nn.DenseGeneral, nnx.LinearGeneral):
        return False
    batched = getattr(layer, "batch_dims", None) or getattr(layer, "batch_axis", None)
    return not batched and np.ravel(layer.axis).tolist() in ([-1], [1])


def make_reader(
    features: Features | None,
) -> Callable[[Any, Watch, Run, Any], Output]:
    """Returns the function that reads what a module returned.

    Args:
      features: where the features come from, None: from what the module returns, or
        else from the dense layer whose output the logits are.

    Returns:
      A function of what the module returned, what was seen of its layers, and the call
      itself with its inputs, should it be needed once more.
    """
    has_warned = False

    def read(result: Any, watch: Watch, run: Run, inputs: Any) -> Output:
        nonlocal has_warned
        output = as_output(result)
        if features is not None:
            return output._replace(features=_named(features, watch.calls))
        is_told = output.features is not None and not _is_head(result, watch)
        if is_told or not watch.heads:
            return output
        found = _head_inputs(output.logits, watch, run, inputs)
        if found is None and not has_warned:
            has_warned = True
            warnings.warn(_NO_FEATURES, stacklevel=3)
        return output._replace(features=found)

    return read


_NO_FEATURES = (
    "The model has no features: its logits are not what a dense layer returned. "
    "Strategies that need features will refuse it. Return (logits, features), or say "
    "where they are: features='body/Dense_0' for that layer's output, "
    "features=lambda calls: calls['head'].inputs for what a layer sees."
)


def as_output(result: Any) -> Output:
    """Finds the logits, and features returned with them, see `from_linen`."""
    if isinstance(result, Output):
        return result
    if isinstance(result, Mapping) and "logits" in result:
        return Output(result["logits"], result.get("features"))
    if hasattr(result, "logits"):
        return Output(result.logits, getattr(result, "features", None))
    if isinstance(result, tuple | list) and result:
        # A second of another kind is a loss, attention weights, a carry.
        has_features = len(result) == 2 and _are_vectors(result[1])
        return Output(result[0], result[1] if has_features else None)
    if isinstance(result, Array):
        return Output(result)
    names = f" of {sorted(map(str, result))}" if isinstance(result, Mapping) else ""
    raise TypeError(
        f"The module returns {type(result).__name__}{names}, expected logits [B, C], "
        "(logits, features), or something that has 'logits'. Return one of these."
    )


def _is_head(result: Any, watch: Watch) -> bool:
    """Whether what came with the logits are the logits of another, auxiliary head."""
    if type(result) not in (tuple, list):  # what has names means what it says
        return False
    made = [call.output for call in watch.heads]
    is_made = any(result[1] is output for output in made)
    return is_made and result[0].shape == result[1].shape


def _are_vectors(value: Any) -> bool:
    is_array = isinstance(value, Array)
    return is_array and value.ndim == 2 and jnp.issubdtype(value.dtype, jnp.floating)


def _named(features: Features, calls: Mapping[str, Call]) -> Array:
    if isinstance(features, str):
        found: Any = calls[features.replace(".", "/")].output
    else:
        found = features(calls)
    if jnp.ndim(found) != 2:
        raise ValueError(
            f"features={features!r} has shape {list(jnp.shape(found))}, expected one "
            "vector for each row, [B, D]. Pass a function that makes it one, such as "
            "lambda calls: calls['body'].output.mean(1)."
        )
    return found


def _head_inputs(logits: Any, watch: Watch, run: Run, inputs: Any) -> Array | None:
    for call in watch.heads:
        if call.output is logits:
            return call.inputs
    number = _head_before_casts(run, inputs)
    return None if number is None else watch.heads[number].inputs


def _head_before_casts(run: Run, inputs: Any) -> int | None:
    """Which dense layer's output the logits are, cast to another dtype."""

    def results(inputs: Any) -> tuple[Any, list]:
        result, watch = run(inputs)
        return as_output(result).logits, [call.output for call in watch.heads]

    jaxpr = jax.make_jaxpr(results)(inputs).jaxpr
    variable, *heads = jaxpr.outvars
    made_by = {id(made): eqn for eqn in jaxpr.eqns for made in eqn.outvars}
    while not any(variable is head for head in heads):
        eqn = made_by.get(id(variable))
        if eqn is None or eqn.primitive.name != "convert_element_type":
            return None
        variable = eqn.invars[0]
    return next(i for i, head in enumerate(heads) if head is variable)
