"""A user's Flax linen module, made into a `Model`."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import flax.errors
import flax.linen as nn
import jax
from jax import Array

from jaxal.models.calling import (
    Calling,
    Flags,
    flags_among,
    hand_made_dropout,
    read_call,
    replace_argument,
)
from jaxal.models.convolution import conv_general_dilated
from jaxal.models.features import Call, Features, Watch, is_dense, make_reader
from jaxal.types import Model, Output, Variables


def from_linen(
    module: nn.Module,
    *,
    features: Features | None = None,
    keywords: bool | None = None,
    flags: Flags | None = None,
) -> Model:
    """Makes a `Model` of a linen module.

    The module is called as `module(x)`, or as `module(**x)` where `x` is a dict of what
    its `__call__` takes, with the flag that its `__call__` or else its fields name:
    `train`, `training`, `is_train`, `is_training`, `deterministic`, `inference` or
    `use_running_average`. BatchNorm and Dropout may hang on that one flag: whether
    `nn.Dropout` and the dropout of attention are on follows the key alone, so MC
    dropout (a key and `train=False`) leaves BatchNorm at its running averages. The same
    key draws the same mask.

    The module returns logits, `(logits, features)`, or anything that has "logits". When
    it returns no features, they are the inputs of the dense layer whose output the
    logits are (cast, if they are), and None when they are no such layer's output.

    On CPUs, whose convolutions are slow inside compiled loops, layers `Conv` with
    neither groups nor dilation are matrix products there; like most things written
    for speed they know reverse-mode differentiation only. A layer that was given its
    own `conv_general_dilated` keeps it.

    Args:
      module: maps inputs `[B, ...]` to logits `[B, C]`.
      features: the path of the layer whose output is the features, such as
        "encoder/Dense_0"; or a function of every layer's `inputs` and `output` by path.
      keywords: whether a dict of inputs is passed as keyword arguments; None: where
        `__call__` has parameters of those names.
      flags: from whether the module is in training to keyword arguments of its call,
        such as `lambda train: {"mode": "fit" if train else "ask"}`.

    Returns:
      The model. Its variables are a plain dict of the module's collections.

    Raises:
      TypeError: `module` is not a linen module.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp
      >>> model = from_linen(nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(3)]))
      >>> inputs = jnp.ones((2, 5))
      >>> variables = model.init(jax.random.key(0), inputs)
      >>> output, _ = model.apply(variables, inputs)
      >>> output.logits.shape, output.features.shape
      ((2, 3), (2, 8))
    """
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module is {type(module).__name__}, expected a flax.linen module. Use "
            "from_nnx for a flax.nnx module, or write Model(init, apply) by hand."
        )
    calling, fields = _read(module, keywords, flags)
    read = make_reader(features)

    # Compiled, an initialisation drops the forward pass, which takes long to compile.
    @jax.jit
    def init(key: Array, inputs: Any) -> Variables:
        args, kwargs = calling.arguments(inputs, training=False)
        with nn.intercept_methods(_Switch(dropout=False, train=False)):
            return module.clone(**fields(False)).init(key, *args, **kwargs)

    def call(
        variables: Variables, inputs: Any, key: Array | None, train: bool, flag: bool
    ) -> tuple[Any, Watch, Variables]:
        args, kwargs = calling.arguments(inputs, flag)
        watch = Watch(everything=features is not None)
        carried = [name for name in variables if name != "params"] if train else []
        with nn.intercept_methods(_Switch(key is not None, train, watch)):
            result, updates = module.clone(**fields(flag)).apply(
                variables, *args, **kwargs, rngs=_streams(key), mutable=carried
            )
        return result, watch, _carried(variables, updates)

    has_flag = bool(calling.flags(True) or fields(True))

    def apply(
        variables: Variables,
        inputs: Any,
        *,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Output, Variables]:
        by_hand = key is not None and not train and has_flag
        by_hand = by_hand and _draws_by_hand(call, variables, inputs)

        def run(inputs: Any) -> tuple[Any, Watch, Variables]:
            return call(variables, inputs, key, train, train or by_hand)

        try:
            result, watch, after = run(inputs)
        except flax.errors.ModifyScopeVariableError as error:
            if not by_hand:
                raise
            raise hand_made_dropout() from error
        return read(result, watch, lambda again: run(again)[:2], inputs), after

    return Model(init, apply)


def _draws_by_hand(call: Callable, variables: Variables, inputs: Any) -> bool:
    """Whether the flag switches more dropout than that of layers we know."""

    def trace() -> None:  # all that we know is off without a key
        call(variables, inputs, None, True, True)

    try:
        jax.eval_shape(trace)
    except flax.errors.InvalidRngError:
        return True
    return False


def _read(
    module: nn.Module, keywords: bool | None, flags: Flags | None
) -> tuple[Calling, Flags]:
    """How a module is called, and what is told of training through its fields."""
    calling = read_call(type(module), keywords, flags)
    if flags is not None or calling.flags(True):
        return calling, lambda training: {}
    return calling, flags_among(frozenset(f.name for f in dataclasses.fields(module)))


def _streams(key: Array | None) -> dict[str, Array] | None:
    # Streams by other names than dropout take from params.
    if key is None:
        return None
    return {"dropout": key, "params": jax.random.fold_in(key, 1)}


def _carried(variables: Variables, updates: Variables) -> Variables:
    """Updated collections; those that grow (losses that were sown) are left alone."""
    kept = {
        name: update
        for name, update in updates.items()
        if _structure(update) == _structure(variables[name])
    }
    return {**variables, **kept}


def _structure(tree: Any) -> Any:
    return jax.tree.structure(tree)


class _Switch:
    """Intercepts a module's calls: switches its layers, remembers what they saw."""

    def __init__(self, dropout: bool, train: bool, watch: Watch | None = None) -> None:
        self.dropout = dropout
        self.train = train
        self.watch = watch

    def __call__(
        self,
        next_fun: Callable[..., Any],
        args: tuple,
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        if context.method_name != "__call__":
            return next_fun(*args, **kwargs)
        layer = context.module
        first = next(iter([*args, *kwargs.values()]), None)
        setting = self._setting(layer)
        if setting is None:
            output = next_fun(*args, **kwargs)
        else:
            replaced = replace_argument(context.orig_method, *setting, args, kwargs)
            args, kwargs = replaced or (args, kwargs)
            with _set(layer, setting[0], None if replaced else setting[1]):
                output = next_fun(*args, **kwargs)
        if self.watch is not None:
            self.watch.record(layer.path, is_dense(layer), Call(first, output))
        return output

    def _setting(self, layer: nn.Module) -> tuple[str, Any] | None:
        if isinstance(layer, nn.Dropout | nn.MultiHeadDotProductAttention):
            return "deterministic", not self.dropout
        if isinstance(layer, nn.BatchNorm) and not self.train:
            return "use_running_average", True
        if isinstance(layer, nn.Conv) and layer.conv_general_dilated_cls is None:
            own = layer.conv_general_dilated
            return "conv_general_dilated", own or conv_general_dilated
        return None


@contextlib.contextmanager
def _set(layer: nn.Module, name: str, value: Any) -> Iterator[None]:
    """Sets a field for the time of a call: the layer is this call's own copy."""
    before = getattr(layer, name)
    object.__setattr__(layer, name, value)
    try:
        yield
    finally:
        object.__setattr__(layer, name, before)
