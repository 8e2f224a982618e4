"""Strategies by name, for command lines and configuration files."""

import difflib
from collections.abc import Callable
from typing import Any

from jaxal.types import Strategy

_FACTORIES: dict[str, Callable[..., Strategy]] = {}


def register(name: str, factory: Callable[..., Strategy] | Strategy) -> None:
    """Makes a strategy known by name, to `strategy(name)` and to the command line.

    Args:
      name: what it is called.
      factory: a function from keyword settings to a `Strategy`, or a `Strategy`.

    Raises:
      ValueError: the name is taken by another factory.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import by_score, register, strategy
      >>> register("smallest_logit", by_score(lambda logits: -jnp.min(logits, axis=-1)))
      >>> strategy("smallest_logit").name
      'smallest_logit'
    """
    made = (lambda: factory) if isinstance(factory, Strategy) else factory
    known = _FACTORIES.get(name)
    if known is not None and not isinstance(factory, Strategy) and known is not factory:
        raise ValueError(
            f"A strategy called {name!r} exists. Register yours under another name."
        )
    _FACTORIES[name] = made


def strategy(name: str, **settings: Any) -> Strategy:
    """Returns a strategy by its name.

    Args:
      name: one of `strategy_names()`.
      **settings: passed on to its factory.

    Returns:
      The `Strategy`, which carries the name.

    Raises:
      ValueError: no strategy has that name; the message suggests the nearest one.

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
    return _FACTORIES[name](**settings)._replace(name=name)


def strategy_names() -> tuple[str, ...]:
    """Returns the names of all registered strategies, sorted.

    Example:
      >>> from jaxal import strategy_names
      >>> "margin" in strategy_names()
      True
    """
    return tuple(sorted(_FACTORIES))
