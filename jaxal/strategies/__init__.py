"""Strategies: compositions of posterior, score or embedding, and selector."""

from jaxal.strategies.embedded import badge, by_selector, coreset
from jaxal.strategies.herding import max_herding, uherding
from jaxal.strategies.ranked import (
    bald,
    by_score,
    entropy,
    least_confidence,
    margin,
    mean_std,
    random,
    variation_ratio,
)
from jaxal.strategies.registry import register, strategy, strategy_names

__all__ = [
    "badge",
    "bald",
    "by_score",
    "by_selector",
    "coreset",
    "entropy",
    "least_confidence",
    "margin",
    "max_herding",
    "mean_std",
    "random",
    "register",
    "strategy",
    "strategy_names",
    "uherding",
    "variation_ratio",
]

for _factory in (
    badge,
    bald,
    coreset,
    entropy,
    least_confidence,
    margin,
    max_herding,
    mean_std,
    random,
    uherding,
    variation_ratio,
):
    register(_factory.__name__, _factory)
