"""Strategies by name: the one place where a strategy is named.

The command line, the law tests, the benchmark, `plan` and the tables of the README
follow from what is registered here.
"""

import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from jaxal.checks import nearest
from jaxal.expressions import evaluate
from jaxal.types import Strategy

Factory = Callable[..., Strategy] | Strategy
T = TypeVar("T", bound=Factory)
NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})
# Rooms whose files name strategies: they are read when a name is first asked for.
_ROOMS = (
    "jaxal.selection.spread",
    "jaxal.selection.cover",
    "jaxal.selection.joint",
    "jaxal.strategies",
)


class Entry(NamedTuple):
    """A strategy's name, how it is made, and what is known of it."""

    name: str
    factory: Factory
    is_deterministic: bool = False  # the key changes nothing where no two rows tie
    most_classes: int = 1000  # fewer where the time grows with a power of theirs
    small: Mapping[str, Any] = NO_SETTINGS  # settings that suit a pool of forty rows
    exempt: Mapping[str, str] = NO_SETTINGS  # laws that it does not keep, and why
    is_combinator: bool = False  # made of other strategies, which have to be named
    family: str = ""  # what kind of method it is, in a few words
    budget: str = "any budget"  # or "few labels", "many labels": what it is made for
    cost: str = ""  # of choosing, in the letters of `jaxal.types`

    @property
    def settings(self) -> dict[str, inspect.Parameter]:
        """What can be set, by name."""
        if isinstance(self.factory, Strategy):
            return {}
        return dict(inspect.signature(self.factory).parameters)

    @property
    def doc(self) -> str:
        """What is said of it, `""` for a `Strategy` registered as it is."""
        is_made = isinstance(self.factory, Strategy)
        return "" if is_made else inspect.getdoc(self.factory) or ""

    @property
    def paper(self) -> tuple[str, str]:
        """Authors and year of the first reference, and its link; `""` without one."""
        text = " ".join(self.doc.partition("Reference:\n")[2].split())
        found = re.match(r'(.*?), "|(.*?), ', text)
        dated = re.search(r"((?:19|20)\d\d)\b[^\d].*?(https?://\S+)", text)
        if found is None or dated is None:
            return "", ""
        first, *others = (found[1] or found[2]).split(", ")
        authors = f"{first} et al." if others else first
        return f"{authors} {dated[1]}", dated[2].rstrip(".;,")


_ENTRIES: dict[str, Entry] = {}


def register(
    name: str | Factory,
    factory: Factory | None = None,
    *,
    is_deterministic: bool = False,
    most_classes: int = 1000,
    small: Mapping[str, Any] = NO_SETTINGS,
    exempt: Mapping[str, str] = NO_SETTINGS,
    is_combinator: bool = False,
    family: str = "",
    budget: str = "any budget",
    cost: str = "",
) -> Any:
    """Makes a strategy known by name: to `strategy`, the command line, laws and tables.

    Args:
      name: what it is called; or, as a plain decorator, the factory, called as it is.
      factory: a function from keyword settings to a `Strategy`, or a `Strategy`; left
        out, `register(name)` is a decorator.
      is_deterministic: whether the key changes nothing where no two rows tie.
      most_classes: classes up to which it is tried by the laws.
      small: settings that suit a pool of forty rows, as the laws use.
      exempt: laws that it breaks by what it is, each with the reason.
      is_combinator: whether it is made of other strategies, which have to be named, as
        in `strategy("class_balanced(badge)")`.
      family: what kind of method it is, for tables, as the next two.
      budget: "any budget", "few labels" or "many labels".
      cost: of choosing, in the letters of `jaxal.types`.

    Returns:
      The factory, or the decorator.

    Raises:
      ValueError: the name is taken by another factory, such as a built-in one. Only a
        `Strategy` takes the place of a `Strategy`, as when a notebook cell runs again.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import by_score, register, strategy
      >>> register("smallest", by_score(lambda z: -jnp.min(z, axis=-1))).name
      'custom'
      >>> @register
      ... def largest(*, power: float = 1.0):
      ...   return by_score(lambda z: jnp.max(z, axis=-1) ** power)
      >>> strategy("largest", power=2.0).name
      'largest'
    """
    flags: dict[str, Any] = {
        "is_deterministic": is_deterministic,
        "most_classes": most_classes,
        "small": MappingProxyType(dict(small)),
        "exempt": MappingProxyType(dict(exempt)),
        "is_combinator": is_combinator,
        "family": family,
        "budget": budget,
        "cost": cost,
    }
    if not isinstance(name, str):
        return _enter(name.__name__, name, flags)  # type: ignore[union-attr]
    if factory is not None:
        return _enter(name, factory, flags)
    return lambda made: _enter(name, made, flags)


def _enter(name: str, factory: T, flags: dict[str, Any]) -> T:
    known = _ENTRIES.get(name)
    was_made = known is not None and isinstance(known.factory, Strategy)
    is_again = was_made and isinstance(factory, Strategy)
    if known is not None and known.factory is not factory and not is_again:
        raise ValueError(
            f"A strategy called {name!r} exists. Register yours under another name."
        )
    _ENTRIES[name] = Entry(name, factory, **flags)
    return factory


def strategy(name: str, *parts: Strategy, **settings: Any) -> Strategy:
    """Returns a strategy by its name, or by an expression of names and settings.

    Args:
      name: one of `strategy_names()`; or such as `class_balanced(badge, factor=5)`.
      *parts: of a combinator, such as `strategy("class_balanced", badge)`.
      **settings: passed on to its factory.

    Returns:
      The `Strategy`, which carries the name.

    Raises:
      ValueError: no strategy has that name, or it has no such setting; the message
        suggests the nearest one, and points at its place in an expression.

    Example:
      >>> from jaxal import strategy
      >>> sorted(strategy("badge").needs)
      ['features', 'logits']
      >>> strategy("mixture(badge, margin, weights=[1, 3])").name
      'mixture(badge, margin, weights=[1, 3])'
    """
    if name.isidentifier() or parts or settings:
        return _made(name, *parts, **settings)
    made = evaluate(name, _made, lambda word: word in _known())
    return made._replace(name=name.strip())


def _made(name: str, *parts: Strategy, **settings: Any) -> Strategy:
    found = entry(name)
    _check_settings(found, settings)
    if isinstance(found.factory, Strategy):
        return found.factory._replace(name=name)
    if found.is_combinator and next(iter(found.settings)) == "strategies":
        _require_parts(found, parts, at_least=1)
        parts = (parts,)  # type: ignore[assignment]
    else:
        needed = [n for n, p in found.settings.items() if _is_part(p)]
        _require_parts(found, parts, at_least=len(needed))
        if len(parts) > len(needed):
            few = f"others, of which it takes {len(needed)}" if needed else "no others"
            raise ValueError(
                f"Strategy {name!r} is made of {few}; it got {len(parts)}."
            )
    missing = _missing(found, len(parts), settings)
    if missing:
        raise ValueError(
            f"Strategy {name!r} needs {', '.join(missing)}. Write {name}(..., "
            f"{missing[0]}=...)."
        )
    return found.factory(*parts, **settings)._replace(name=name)


def _is_part(parameter: inspect.Parameter) -> bool:
    is_needed = parameter.default is parameter.empty
    return is_needed and "Strategy" in str(parameter.annotation)


def _require_parts(found: Entry, parts: tuple, at_least: int) -> None:
    if len(parts) < at_least:
        raise ValueError(
            f"Strategy {found.name!r} is made of others, of which it got {len(parts)} "
            f"and needs {at_least}. Write {found.name}(badge), for example."
        )


def _missing(found: Entry, num_parts: int, settings: dict[str, Any]) -> list[str]:
    takes = list(found.settings.items())[num_parts:]
    return [
        name
        for name, p in takes
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD and name not in settings
    ]


def _known() -> dict[str, Entry]:
    _read_rooms()
    return _ENTRIES


def strategy_names() -> tuple[str, ...]:
    """Returns the names of all registered strategies, sorted.

    Example:
      >>> from jaxal import strategy_names
      >>> "margin" in strategy_names()
      True
    """
    return tuple(sorted(e.name for e in _known().values() if not e.is_combinator))


def combinator_names() -> tuple[str, ...]:
    """Returns the names of what makes strategies of strategies, sorted.

    Example:
      >>> from jaxal.registry import combinator_names
      >>> "class_balanced" in combinator_names()
      True
    """
    return tuple(sorted(e.name for e in _known().values() if e.is_combinator))


def entry(name: str) -> Entry:
    """Returns what is known of a strategy.

    Raises:
      ValueError: no strategy has that name; the message suggests the nearest one.

    Example:
      >>> from jaxal.registry import entry
      >>> list(entry("max_det").settings)
      ['of', 'noise', 'num_dims']
    """
    if name not in _known():
        raise ValueError(
            f"Unknown strategy {name!r}.{nearest(name, _ENTRIES)} "
            "strategy_names() lists all, as does `jaxal strategies`."
        )
    return _ENTRIES[name]


@cache
def _read_rooms() -> None:
    for room in _ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{room}.{module.name}")


def _check_settings(found: Entry, settings: dict[str, Any]) -> None:
    takes = found.settings
    if any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        return
    for name in settings:
        if name not in takes:
            known = f"It takes {', '.join(takes)}." if takes else "It takes none."
            raise ValueError(
                f"Strategy {found.name!r} has no setting {name!r}."
                f"{nearest(name, takes)} {known}"
            )
        if expected := _misfit(takes[name].annotation, settings[name]):
            raise ValueError(
                f"{name} of strategy {found.name!r} is {settings[name]!r}, expected "
                f"{expected}."
            )


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _misfit(annotation: Any, value: Any) -> str:
    """What a setting should have been, or nothing where it may be right."""
    if annotation in (int, float) and isinstance(value, str | list | Strategy):
        return "a number"
    if annotation is int and isinstance(value, float):
        return "a whole number"
    if annotation is bool and not isinstance(value, bool):
        return "True or False"
    kinds = get_args(annotation) if _is_union(annotation) else (annotation,)
    words = [w for k in kinds if typing.get_origin(k) is Literal for w in get_args(k)]
    is_word = isinstance(value, str)
    is_meant = str not in kinds and (is_word or len(kinds) == 1)
    if words and is_meant and not (is_word and value in words):
        return f"one of {', '.join(map(repr, words))}"
    is_many = "Sequence" in str(annotation)
    return (
        "a list, such as [1, 2]" if is_many and isinstance(value, int | float) else ""
    )
