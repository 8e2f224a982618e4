"""A user's Flax nnx module, made into a `Model`."""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx
from jax import Array

from jaxal.models.calling import Flags, hand_made_dropout, read_call
from jaxal.models.features import Features, Watch, make_reader
from jaxal.models.nnx_layers import Seen, switched
from jaxal.types import Model, Output, Variables


def from_nnx(
    module: nnx.Module | Callable[[nnx.Rngs], nnx.Module],
    *,
    features: Features | None = None,
    keywords: bool | None = None,
    flags: Flags | None = None,
) -> Model:
    """Makes a `Model` of an nnx module.

    A factory such as `lambda rngs: Net(rngs=rngs)` gives new parameters for every key.
    A module gives a model that always starts at that module's own values (a pretrained
    network), whatever the key.

    Whether dropout is on (attributes called `deterministic`, those of `nnx.Dropout` and
    attention among them) follows the key alone, whether `nnx.BatchNorm` uses batch
    statistics follows `train`, so MC dropout (a key and `train=False`) leaves BatchNorm
    at its running averages. How the module is called and told of training, where
    logits and features are found, and how layers `Conv` are computed on CPUs, is as in
    `from_linen`.

    Args:
      module: a factory from `nnx.Rngs` to a module, or a module; it maps inputs
        `[B, ...]` to logits `[B, C]`.
      features: the path of the layer whose output is the features, such as
        "layers/0"; or a function of every layer's `inputs` and `output` by path.
      keywords: whether a dict of inputs is passed as keyword arguments; None: where
        `__call__` has parameters of those names.
      flags: from whether the module is in training to keyword arguments of its call.

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
    if not callable(module) or isinstance(module, linen.Module):
        raise TypeError(
            f"module is {type(module).__name__}, expected a flax.nnx module or a "
            "factory such as lambda rngs: Net(rngs=rngs). Use from_linen for linen."
        )
    make = (lambda rngs: module) if isinstance(module, nnx.Module) else module
    # Shapes only: what the parts are called and how they fit together.
    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    known = _split(abstract)
    calling = read_call(type(abstract), keywords, flags)
    read = make_reader(features)

    def init(key: Array, inputs: Any) -> Variables:
        del inputs  # an nnx module knows its shapes
        parts = _split(make(nnx.Rngs(key)))
        return {"params": _to_dict(parts.params), "state": _to_dict(parts.state)}

    def call(
        variables: Variables, inputs: Any, key: Array | None, train: bool, flag: bool
    ) -> tuple[Any, Seen, nnx.Module]:
        net = _merge(known, variables, key)
        seen = Seen(Watch(everything=features is not None))
        args, kwargs = calling.arguments(inputs, flag)
        with switched(net, seen, dropout=key is not None, train=train):
            return net(*args, **kwargs), seen, net

    has_flag = bool(calling.flags(True))

    def apply(
        variables: Variables,
        inputs: Any,
        *,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Output, Variables]:
        by_hand = key is not None and not train and has_flag
        by_hand = by_hand and _draws_by_hand(call, variables, inputs)

        def run(inputs: Any) -> tuple[Any, Seen, nnx.Module]:
            return call(variables, inputs, key, train, train or by_hand)

        def again(inputs: Any) -> tuple[Any, Watch]:
            result, seen, _ = run(inputs)
            return result, seen.watch

        result, seen, net = run(inputs)
        after = _to_dict(_split(net).state, like=known.state)
        if by_hand and not _is_same(after, variables["state"]):
            raise hand_made_dropout()
        output = read(result, seen.watch, again, inputs)
        return output, {**variables, "state": after} if train else variables

    return Model(init, apply)


def _draws_by_hand(call: Callable, variables: Variables, inputs: Any) -> bool:
    """Whether the flag switches more dropout than that of layers we know."""
    draws = []

    def trace(flag: bool) -> None:  # all that we know is off without a key
        draws.append(call(variables, inputs, None, True, flag)[1].draws)

    for flag in (True, False):
        jax.eval_shape(partial(trace, flag))
    return draws[0] > draws[1]


class _Parts(NamedTuple):
    """What a module is made of."""

    graph: Any
    params: Any
    streams: Any  # random ones
    state: Any  # the rest


def _split(net: nnx.Module) -> _Parts:
    parts: Any = nnx.split(net, nnx.Param, nnx.RngState, ...)
    return _Parts(*parts)


def _merge(known: _Parts, variables: Variables, key: Array | None) -> nnx.Module:
    """A module of these variables, its random streams started from `key`."""
    params = _from_dict(known.params, variables["params"])
    state = _from_dict(known.state, variables["state"])
    net: nnx.Module = nnx.merge(known.graph, params, _seeded(known.streams, key), state)
    return net


def _seeded(streams: Any, key: Array | None) -> Any:
    """Random streams that start from `key`, a different place for each stream."""
    start = jax.random.key(0) if key is None else key

    def restarted(number: int, leaf: Any) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            fresh = jax.random.fold_in(start, number)
            return jax.random.split(fresh, leaf.shape) if leaf.shape else fresh
        return jnp.zeros(leaf.shape, leaf.dtype)

    leaves, treedef = jax.tree.flatten(streams)
    fresh = [restarted(number, leaf) for number, leaf in enumerate(leaves)]
    return jax.tree.unflatten(treedef, fresh)


def _to_dict(state: Any, like: Any = None) -> dict[str, Any]:
    """Nested dicts of arrays; the positions in lists become strings.

    Where `like` is given, only what it has too: not what the module has sown since.
    """
    known = dict(nnx.to_flat_state(state if like is None else like))
    tree: dict[str, Any] = {}
    for path, variable in nnx.to_flat_state(state):
        if path not in known:
            continue
        *parents, name = map(str, path)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = variable[...]
    return tree


def _is_same(tree: Any, other: Any) -> bool:
    leaves = jax.tree.leaves(tree), jax.tree.leaves(other)
    return all(map(operator.is_, *leaves))


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
