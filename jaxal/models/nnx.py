"""A user's Flax nnx module, made into a `Model`."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxal.models.linen import as_output
from jaxal.types import Model, Output, Variables


def from_nnx(module: nnx.Module | Callable[[nnx.Rngs], nnx.Module]) -> Model:
    """Makes a `Model` of an nnx module.

    A factory such as `lambda rngs: Net(rngs=rngs)` gives new parameters for every key.
    A module gives a model that always starts at that module's own values (a pretrained
    network), whatever the key.

    The module is called as `module(x)`. Whether its `nnx.Dropout` layers are on follows
    the key alone, whether `nnx.BatchNorm` uses batch statistics follows `train`, so MC
    dropout (a key and `train=False`) leaves BatchNorm at its running averages.

    The module returns logits, or `(logits, features)`, or an `Output`. When it returns
    logits alone, the features are the inputs of the last `nnx.Linear` called, and None
    when there is no such layer.

    Args:
      module: a factory from `nnx.Rngs` to a module, or a module; it maps inputs
        `[B, ...]` to logits `[B, C]`.

    Returns:
      The model. Its variables are a plain dict: "params", and "state" for everything
      else the module carries but its random streams.

    Raises:
      TypeError: `module` is neither.

    Example:
      >>> from flax import nnx
      >>> import jax, jax.numpy as jnp
      >>> model = from_nnx(lambda rngs: nnx.Linear(5, 3, rngs=rngs))
      >>> inputs = jnp.ones((2, 5))
      >>> output, _ = model.apply(model.init(jax.random.key(0), inputs), inputs)
      >>> output.logits.shape, output.features.shape
      ((2, 3), (2, 5))
    """
    if not callable(module):
        raise TypeError(
            f"module is {type(module).__name__}, expected a flax.nnx module or a "
            "factory such as lambda rngs: Net(rngs=rngs)."
        )
    make = (lambda rngs: module) if isinstance(module, nnx.Module) else module
    # Shapes only: what the parts are called and how they fit together.
    graph, params, streams, state = _split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))

    def init(key: Array, inputs: Array) -> Variables:
        del inputs  # an nnx module knows its shapes
        _, params, _, state = _split(make(nnx.Rngs(key)))
        return {"params": _to_dict(params), "state": _to_dict(state)}

    def apply(
        variables: Variables,
        inputs: Array,
        *,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Output, Variables]:
        net = nnx.merge(
            graph,
            _from_dict(params, variables["params"]),
            _seeded(streams, key),
            _from_dict(state, variables["state"]),
        )
        _set_mode(net, dropout=key is not None, train=train)
        output = _call(net, inputs)
        if not train:
            return output, variables
        return output, {**variables, "state": _to_dict(_split(net)[3])}

    return Model(init, apply)


def _split(net: nnx.Module) -> tuple[Any, Any, Any, Any]:
    """Structure, parameters, random streams, and the rest."""
    parts: Any = nnx.split(net, nnx.Param, nnx.RngState, ...)
    return parts


def _set_mode(net: nnx.Module, dropout: bool, train: bool) -> None:
    net.set_attributes(
        deterministic=not train, use_running_average=not train, raise_if_not_found=False
    )
    net.set_attributes(nnx.Dropout, deterministic=not dropout, raise_if_not_found=False)


_HEAD_INPUTS: ContextVar[list[Array]] = ContextVar("head_inputs")


class _WatchedLinear(nnx.Linear):
    """A linear layer that leaves its inputs where `_call` finds them."""

    def __call__(self, inputs: Array, *args: Any, **kwargs: Any) -> Array:
        _HEAD_INPUTS.get().append(inputs)
        return super().__call__(inputs, *args, **kwargs)


def _call(net: nnx.Module, inputs: Array) -> Output:
    # nnx has no interceptors; `net` is a copy nobody else holds, so its layers may
    # change class for this one call.
    for _, layer in nnx.iter_graph(net):
        if type(layer) is nnx.Linear:
            layer.__class__ = _WatchedLinear
    seen: list[Array] = []
    token = _HEAD_INPUTS.set(seen)
    try:
        result = net(inputs)
    finally:
        _HEAD_INPUTS.reset(token)
    return as_output(result, seen[-1] if seen else None)


def _seeded(streams: Any, key: Array | None) -> Any:
    """Random streams that start from `key`, a different place for each stream."""
    start = jax.random.key(0) if key is None else key

    def restarted(number: int, leaf: Any) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.fold_in(start, number)
        return jnp.zeros(leaf.shape, leaf.dtype)

    leaves, treedef = jax.tree.flatten(streams)
    fresh = [restarted(number, leaf) for number, leaf in enumerate(leaves)]
    return jax.tree.unflatten(treedef, fresh)


def _to_dict(state: Any) -> dict[str, Any]:
    """Nested dicts of arrays; the positions in lists become strings."""
    tree: dict[str, Any] = {}
    for path, variable in nnx.to_flat_state(state):
        *parents, name = map(str, path)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = variable[...]
    return tree


def _from_dict(state: Any, tree: Any) -> Any:
    """A copy of `state` that holds the arrays of `tree`, see `_to_dict`."""

    def find(path: tuple) -> Array:
        node = tree
        for name in map(str, path):
            node = node[name]
        return node

    return nnx.from_flat_state(
        (path, variable.replace(find(path)))
        for path, variable in nnx.to_flat_state(state)
    )
