"""Strategies: compositions of posterior, score or embedding, and selector."""

from jaxal.strategies.bayesian import (
    batch_bald,
    epig,
    laplace_bald,
    laplace_batch_bald,
)
from jaxal.strategies.committee import (
    consensus_entropy,
    consensus_kl,
    vote_entropy,
)
from jaxal.strategies.embedded import badge, by_selector, coreset
from jaxal.strategies.expected import (
    expected_error_reduction,
    expected_gradient_length,
    information_density,
)
from jaxal.strategies.fisher import (
    bait,
    bait_binary,
    bait_regression,
    bait_top,
)
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
    "bait",
    "bait_binary",
    "bait_regression",
    "bait_top",
    "bald",
    "batch_bald",
    "by_score",
    "by_selector",
    "consensus_entropy",
    "consensus_kl",
    "coreset",
    "entropy",
    "epig",
    "expected_error_reduction",
    "expected_gradient_length",
    "information_density",
    "laplace_bald",
    "laplace_batch_bald",
    "least_confidence",
    "margin",
    "mean_std",
    "random",
    "register",
    "strategy",
    "strategy_names",
    "variation_ratio",
    "vote_entropy",
]

for _factory in (
    badge,
    bait,
    bait_binary,
    bait_regression,
    bait_top,
    bald,
    batch_bald,
    consensus_entropy,
    consensus_kl,
    coreset,
    entropy,
    epig,
    expected_error_reduction,
    expected_gradient_length,
    information_density,
    laplace_bald,
    laplace_batch_bald,
    least_confidence,
    margin,
    mean_std,
    random,
    variation_ratio,
    vote_entropy,
):
    register(_factory.__name__, _factory)
