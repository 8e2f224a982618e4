"""A user's Flax linen module, made into a `Model`."""

import inspect
from collections.abc import Callable
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxal.types import Model, Output, Variables

# How people spell it, and whether True means training.
TRAIN_FLAGS = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "inference": False,
}


def from_linen(module: nn.Module) -> Model:
    """Makes a `Model` of a linen module.

    The module is called as `module(x)`, or with the flag its `__call__` names: `train`,
    `training`, `is_training`, `deterministic` or `inference`. BatchNorm and Dropout
    may hang on that one flag: whether `nn.Dropout` is on follows the key alone, so
    MC dropout (a key and `train=False`) leaves BatchNorm at its running averages.
    The same key draws the same mask.

    The module returns logits, or `(logits, features)`, or an `Output`. When it
    returns logits alone, the features are the inputs of the last `nn.Dense` called,
    and None when there is no such layer.

    Args:
      module: maps inputs `[B, ...]` to logits `[B, C]`.

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
    name = _flag_name(module)

    def flag(train: bool) -> dict[str, Any]:
        return {} if name is None else {name: train == TRAIN_FLAGS[name]}

    def init(key: Array, inputs: Array) -> Variables:
        shapes = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
        with nn.intercept_methods(_Calls(dropout=False)):
            try:  # without the forward pass, which takes long to compile
                return module.lazy_init(key, shapes, **flag(False))
            except flax.errors.LazyInitError:  # parameters that depend on the inputs
                return module.init(key, inputs, **flag(False))

    def apply(
        variables: Variables,
        inputs: Array,
        *,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Output, Variables]:
        carried = [name for name in variables if name != "params"] if train else []
        calls = _Calls(dropout=key is not None)
        with nn.intercept_methods(calls):
            result, updates = module.apply(
                variables, inputs, **flag(train), rngs=key, mutable=carried
            )
        return as_output(result, calls.head_inputs), {**variables, **updates}

    return Model(init, apply)


class _Calls:
    """Watches a module's calls: switches dropout, remembers what the head saw."""

    def __init__(self, dropout: bool) -> None:
        self.dropout = dropout
        self.head_inputs: Array | None = None

    def __call__(
        self,
        next_fun: Callable[..., Any],
        args: tuple,
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        if context.method_name != "__call__":
            return next_fun(*args, **kwargs)
        if isinstance(context.module, nn.Dense):
            self.head_inputs = args[0] if args else kwargs["inputs"]
        if isinstance(context.module, nn.Dropout):
            return self._drop(next_fun, context.module, *args, **kwargs)
        return next_fun(*args, **kwargs)

    def _drop(
        self,
        next_fun: Callable[..., Array],
        module: nn.Dropout,
        inputs: Array,
        deterministic: bool | None = None,
        rng: Array | None = None,
    ) -> Any:
        del deterministic  # the caller's key decides
        if not self.dropout:
            return inputs
        rng = module.make_rng(module.rng_collection) if rng is None else rng
        if module.deterministic:  # `nn.Dropout(rate, deterministic=not train)`
            switched_on = module.clone(parent=None, deterministic=False)
            return switched_on.apply({}, inputs, rng=rng)
        # flax refuses the argument where the constructor had it already.
        is_open = module.deterministic is None
        return next_fun(
            inputs, **({"deterministic": False} if is_open else {}), rng=rng
        )


def _flag_name(module: nn.Module) -> str | None:
    """The training flag `__call__` takes, if any."""
    parameters = inspect.signature(type(module).__call__).parameters
    return next((name for name in TRAIN_FLAGS if name in parameters), None)


def as_output(result: Any, head_inputs: Array | None) -> Output:
    """Completes what a module returned, see `from_linen`."""
    if isinstance(result, Output):
        return result
    if isinstance(result, tuple):
        return Output(*result)
    has_rows = head_inputs is not None and jnp.ndim(head_inputs) == 2
    return Output(result, head_inputs if has_rows else None)
