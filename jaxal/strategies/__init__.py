"""Strategies: compositions of posterior, score or embedding, and selector."""

from jaxal.strategies.coverage import (
    active_ft,
    dcom,
    k_means,
    prob_cover,
    typiclust,
)
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
    "active_ft",
    "badge",
    "bald",
    "by_score",
    "by_selector",
    "coreset",
    "dcom",
    "entropy",
    "k_means",
    "least_confidence",
    "margin",
    "mean_std",
    "prob_cover",
    "random",
    "register",
    "strategy",
    "strategy_names",
    "typiclust",
    "variation_ratio",
]

for _factory in (
    active_ft,
    badge,
    bald,
    coreset,
    dcom,
    entropy,
    k_means,
    least_confidence,
    margin,
    mean_std,
    prob_cover,
    random,
    typiclust,
    variation_ratio,
):
    register(_factory.__name__, _factory)
