"""Switching and watching the layers of an nnx network during one call."""

import contextlib
import functools
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from flax import nnx
from jax import lax

from jaxal.models.calling import replace_argument
from jaxal.models.convolution import conv_general_dilated
from jaxal.models.features import Call, Watch, is_dense


class Seen:
    """What is known of the layers of one network, and what they did in one call."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.layers: dict[int, tuple[tuple, bool]] = {}  # by id: path, whether dense
        self.draws = 0  # of random keys


_SEEN: ContextVar[Seen] = ContextVar("seen")


@contextlib.contextmanager
def switched(net: nnx.Module, seen: Seen, dropout: bool, train: bool) -> Iterator[None]:
    """Sets the modes of a network's layers, and has them tell `seen` what they do.

    nnx has no interceptors; `net` is a copy nobody else holds, so its layers may change
    class for this one call.
    """
    modes = {"deterministic": not dropout, "use_running_average": not train}
    for path, node in list(nnx.iter_graph(net)):
        if isinstance(node, nnx.Module):
            seen.layers[id(node)] = path, is_dense(node)
            for name in modes.keys() & vars(node).keys():
                setattr(node, name, modes[name])
            if getattr(node, "conv_general_dilated", 0) is lax.conv_general_dilated:
                vars(node)["conv_general_dilated"] = conv_general_dilated
        if isinstance(node, nnx.Module | nnx.RngStream) and callable(node):
            node.__class__ = _watched(type(node))
    token = _SEEN.set(seen)
    try:
        yield
    finally:
        _SEEN.reset(token)


@functools.cache
def _watched(layer: type) -> type:
    tell = _draw if issubclass(layer, nnx.RngStream) else _call
    forward: Any = layer.__call__

    @functools.wraps(forward)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        return tell(self, functools.partial(forward, self), args, kwargs)

    # One base alone, so that an instance of it may take on the class.
    return types.new_class(layer.__name__, (layer,), {}, _body(__call__=watched))


def _body(**members: Any) -> Callable[[dict[str, Any]], None]:
    return lambda namespace: namespace.update(members)


def _draw(
    stream: Any, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
) -> Any:
    _SEEN.get().draws += 1
    return forward(*args, **kwargs)


def _call(
    layer: Any, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
) -> Any:
    first = next(iter([*args, *kwargs.values()]), None)
    name = _mode(layer)
    if name is not None:  # the attribute decides, whatever the layer is called with
        value = getattr(layer, name)
        replaced = replace_argument(forward, name, value, args, kwargs)
        args, kwargs = replaced or (args, kwargs)
    output = forward(*args, **kwargs)
    seen = _SEEN.get()
    if id(layer) in seen.layers:
        seen.watch.record(*seen.layers[id(layer)], Call(first, output))
    return output


def _mode(layer: Any) -> str | None:
    """The attribute that overrides what a layer is called with."""
    if isinstance(layer, nnx.Dropout | nnx.MultiHeadAttention):
        return "deterministic"
    # In training a module may keep some of its statistics as they are.
    is_fixed = isinstance(layer, nnx.BatchNorm) and layer.use_running_average
    return "use_running_average" if is_fixed else None
