"""Strategies: compositions by name, and strategies made of strategies.

Whatever is registered is here as a factory as well: `jaxal.strategies.badge(...)`.
"""

from typing import Any

from jaxal import registry
from jaxal.registry import register, strategy, strategy_names
from jaxal.strategies.combinators import (
    class_balanced,
    mixture,
    schedule,
    stochastic,
    warm_up,
)
from jaxal.strategies.ranked import by_score
from jaxal.strategies.shortlists import partition, subsample, uncertain_then_diverse

__all__ = [
    "by_score",
    "class_balanced",
    "mixture",
    "partition",
    "register",
    "schedule",
    "stochastic",
    "strategy",
    "strategy_names",
    "subsample",
    "uncertain_then_diverse",
    "warm_up",
]


def __getattr__(name: str) -> Any:
    try:
        return registry.entry(name).factory
    except ValueError as error:
        raise AttributeError(str(error)) from None
