"""How a user's module is called: its inputs, and how it is told of training."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

# How people spell it, and whether True means training.
TRAIN_FLAGS = {
    "train": True,
    "training": True,
    "is_train": True,
    "is_training": True,
    "deterministic": False,
    "inference": False,
    "use_running_average": False,
}

Flags = Callable[[bool], dict[str, Any]]
"""From whether the module is in training to keyword arguments of its call."""


class Calling(NamedTuple):
    """What a module's `__call__` takes, and what the user has said about it."""

    flags: Flags
    signature: inspect.Signature  # of `__call__`, with self
    keywords: bool | None

    def arguments(self, inputs: Any, training: bool) -> tuple[tuple, dict[str, Any]]:
        """Positional and keyword arguments of one call."""
        args: tuple = (inputs,)
        kwargs = self.flags(training)
        if self._spreads(inputs):
            args, kwargs = (), {**inputs, **kwargs}
        try:
            self.signature.bind(None, *args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"The module cannot be called with {list(kwargs) or 'one argument'}: "
                f"{error}. Let inputs be a dict of what its __call__ "
                "takes; flags=lambda train: {...} gives what else it wants."
            ) from error
        return args, kwargs

    def _spreads(self, inputs: Any) -> bool:
        is_mapping = isinstance(inputs, Mapping)
        if self.keywords is None:
            return is_mapping and set(self.signature.parameters).issuperset(inputs)
        if self.keywords and not is_mapping:
            raise TypeError(
                f"keywords is True and inputs are {type(inputs).__name__}, expected a "
                "dict of what the module takes. Leave keywords out for one argument."
            )
        return self.keywords


def read_call(module: type, keywords: bool | None, flags: Flags | None) -> Calling:
    """Reads how modules of a class are called.

    Args:
      module: the class.
      keywords: whether a dict of inputs is passed as keyword arguments, None: where
        `__call__` has parameters of those names.
      flags: what tells the module of training, None: the names in `TRAIN_FLAGS`.
    """
    signature = inspect.signature(module.__call__)
    names = frozenset(list(signature.parameters)[1:])
    return Calling(flags or flags_among(names), signature, keywords)


def flags_among(names: frozenset[str]) -> Flags:
    """Sets those of `TRAIN_FLAGS` that are among `names`."""
    found = {name: means for name, means in TRAIN_FLAGS.items() if name in names}
    return lambda training: {name: training == means for name, means in found.items()}


def replace_argument(
    call: Callable[..., Any], name: str, value: Any, args: tuple, kwargs: dict[str, Any]
) -> tuple[tuple, dict[str, Any]] | None:
    """A call's arguments with one of them replaced, None where it is not given."""
    bound = inspect.signature(call).bind(*args, **kwargs)
    if bound.arguments.get(name) is None:
        return None
    bound.arguments[name] = value
    return bound.args, bound.kwargs


def hand_made_dropout() -> ValueError:
    """The refusal where dropout and statistics hang on one switch, out of reach."""
    return ValueError(
        "The module draws random numbers of its own when told that it is in training, "
        "and then writes to its state as well, so dropout cannot be switched on alone "
        "(a key and train=False, as MC dropout needs). Draw with the framework's "
        "Dropout layer or attention, and keep batch statistics in its BatchNorm."
    )
