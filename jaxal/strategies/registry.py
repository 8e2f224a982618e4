"""Strategies by name, for command lines and configuration files."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from jaxal.types import Strategy

_FACTORIES: dict[str, Callable[..., Strategy] | Strategy] = {}


def register(name: str, factory: Callable[..., Strategy] | Strategy) -> None:
    """Makes a strategy known by name, to `strategy(name)` and to the command line.

    Args:
      name: what it is called.
      factory: a function from keyword settings to a `Strategy`, or a `Strategy`.

    Raises:
      ValueError: the name is taken by another factory, such as a built-in one. Only a
        `Strategy` takes the place of a `Strategy`, as when a notebook cell runs again.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import by_score, register, strategy
      >>> register("smallest_logit", by_score(lambda logits: -jnp.min(logits, axis=-1)))
      >>> strategy("smallest_logit").name
      'smallest_logit'
    """
    known = _FACTORIES.get(name, factory)
    is_again = isinstance(known, Strategy) and isinstance(factory, Strategy)
    if known is not factory and not is_again:
        raise ValueError(
            f"A strategy called {name!r} exists. Register yours under another name."
        )
    _FACTORIES[name] = factory


def strategy(name: str, **settings: Any) -> Strategy:
    """Returns a strategy by its name.

    Args:
      name: one of `strategy_names()`.
      **settings: passed on to its factory.

    Returns:
      The `Strategy`, which carries the name.

    Raises:
      ValueError: no strategy has that name, or it has no such setting; the message
        suggests the nearest one.

    Example:
      >>> from jaxal import strategy
      >>> sorted(strategy("badge").needs)
      ['features', 'logits']
    """
    if name not in _FACTORIES:
        close = difflib.get_close_matches(name, _FACTORIES, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"Unknown strategy {name!r}.{hint} Known: {', '.join(strategy_names())}."
        )
    factory = _FACTORIES[name]
    _check_settings(name, factory, settings)
    made = factory if isinstance(factory, Strategy) else factory(**settings)
    return made._replace(name=name)


def strategy_names() -> tuple[str, ...]:
    """Returns the names of all registered strategies, sorted.

    Example:
      >>> from jaxal import strategy_names
      >>> "margin" in strategy_names()
      True
    """
    return tuple(sorted(_FACTORIES))


def _check_settings(
    name: str, factory: Callable[..., Strategy] | Strategy, settings: dict[str, Any]
) -> None:
    if isinstance(factory, Strategy):
        takes: dict[str, inspect.Parameter] = {}
    else:
        takes = dict(inspect.signature(factory).parameters)
    if any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        return
    for setting in settings:
        if setting in takes:
            continue
        close = difflib.get_close_matches(setting, takes, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        known = f"It takes {', '.join(takes)}." if takes else "It takes none."
        raise ValueError(f"Strategy {name!r} has no setting {setting!r}.{hint} {known}")
