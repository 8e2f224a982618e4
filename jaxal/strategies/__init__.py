"""Strategies: compositions of posterior, score or embedding, and selector."""

from jaxal.strategies.disturbed import alfa_mix, drop_query, vessal
from jaxal.strategies.diverse import cdal, clue, cluster_margin
from jaxal.strategies.embedded import badge, by_selector, coreset
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
    "alfa_mix",
    "badge",
    "bald",
    "by_score",
    "by_selector",
    "cdal",
    "clue",
    "cluster_margin",
    "coreset",
    "drop_query",
    "entropy",
    "least_confidence",
    "margin",
    "mean_std",
    "random",
    "register",
    "strategy",
    "strategy_names",
    "variation_ratio",
    "vessal",
]

for _factory in (
    alfa_mix,
    badge,
    bald,
    cdal,
    clue,
    cluster_margin,
    coreset,
    drop_query,
    entropy,
    least_confidence,
    margin,
    mean_std,
    random,
    variation_ratio,
    vessal,
):
    register(_factory.__name__, _factory)
