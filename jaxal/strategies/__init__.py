"""Strategies: compositions of posterior, score or embedding, and selector."""

from jaxal.strategies.adaptive import galaxy
from jaxal.strategies.adaptive_bandit import albl
from jaxal.strategies.adaptive_regime import select_al
from jaxal.strategies.combinators import (
    class_balanced,
    mixture,
    schedule,
    stochastic,
    warm_up,
)
from jaxal.strategies.combinators_named import (
    badge_partitioned,
    power_bald,
    softmax_bald,
    softrank_bald,
    tcm,
    uncertain_coreset,
)
from jaxal.strategies.combinators_pools import (
    partition,
    subsample,
    uncertain_then_diverse,
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
    "albl",
    "badge",
    "badge_partitioned",
    "bald",
    "by_score",
    "by_selector",
    "class_balanced",
    "coreset",
    "entropy",
    "galaxy",
    "least_confidence",
    "margin",
    "mean_std",
    "mixture",
    "partition",
    "power_bald",
    "random",
    "register",
    "schedule",
    "select_al",
    "softmax_bald",
    "softrank_bald",
    "stochastic",
    "strategy",
    "strategy_names",
    "subsample",
    "tcm",
    "uncertain_coreset",
    "uncertain_then_diverse",
    "variation_ratio",
    "warm_up",
]

for _factory in (
    albl,
    badge,
    badge_partitioned,
    bald,
    coreset,
    entropy,
    galaxy,
    least_confidence,
    margin,
    mean_std,
    power_bald,
    random,
    select_al,
    softmax_bald,
    softrank_bald,
    tcm,
    uncertain_coreset,
    variation_ratio,
):
    register(_factory.__name__, _factory)
