"""Strategies: compositions of posterior, score or embedding, and selector."""

from jaxal.strategies.adaptive import galaxy
from jaxal.strategies.adaptive_bandit import albl
from jaxal.strategies.adaptive_regime import select_al
from jaxal.strategies.bayesian import batch_bald, epig, laplace_bald, laplace_batch_bald
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
from jaxal.strategies.committee import consensus_entropy, consensus_kl, vote_entropy
from jaxal.strategies.coverage import active_ft, dcom, k_means, prob_cover, typiclust
from jaxal.strategies.disturbed import alfa_mix, drop_query, vessal
from jaxal.strategies.diverse import cdal, clue, cluster_margin
from jaxal.strategies.embedded import badge, by_selector, coreset
from jaxal.strategies.expected import (
    expected_error_reduction,
    expected_gradient_length,
    information_density,
)
from jaxal.strategies.fisher import bait, bait_binary, bait_regression, bait_top
from jaxal.strategies.herding import max_herding, uherding
from jaxal.strategies.kernel import frank_wolfe, lcmd, max_det
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
from jaxal.strategies.submodular import (
    facility_location,
    graph_cut,
    log_determinant,
    similar,
)

_FACTORIES = (
    active_ft,
    albl,
    alfa_mix,
    badge,
    badge_partitioned,
    bait,
    bait_binary,
    bait_regression,
    bait_top,
    bald,
    batch_bald,
    cdal,
    clue,
    cluster_margin,
    consensus_entropy,
    consensus_kl,
    coreset,
    dcom,
    drop_query,
    entropy,
    epig,
    expected_error_reduction,
    expected_gradient_length,
    facility_location,
    frank_wolfe,
    galaxy,
    graph_cut,
    information_density,
    k_means,
    laplace_bald,
    laplace_batch_bald,
    lcmd,
    least_confidence,
    log_determinant,
    margin,
    max_det,
    max_herding,
    mean_std,
    power_bald,
    prob_cover,
    random,
    select_al,
    similar,
    softmax_bald,
    softrank_bald,
    tcm,
    typiclust,
    uherding,
    uncertain_coreset,
    variation_ratio,
    vessal,
    vote_entropy,
)

__all__ = [
    "active_ft",
    "albl",
    "alfa_mix",
    "badge",
    "badge_partitioned",
    "bait",
    "bait_binary",
    "bait_regression",
    "bait_top",
    "bald",
    "batch_bald",
    "by_score",
    "by_selector",
    "cdal",
    "class_balanced",
    "clue",
    "cluster_margin",
    "consensus_entropy",
    "consensus_kl",
    "coreset",
    "dcom",
    "drop_query",
    "entropy",
    "epig",
    "expected_error_reduction",
    "expected_gradient_length",
    "facility_location",
    "frank_wolfe",
    "galaxy",
    "graph_cut",
    "information_density",
    "k_means",
    "laplace_bald",
    "laplace_batch_bald",
    "lcmd",
    "least_confidence",
    "log_determinant",
    "margin",
    "max_det",
    "max_herding",
    "mean_std",
    "mixture",
    "partition",
    "power_bald",
    "prob_cover",
    "random",
    "register",
    "schedule",
    "select_al",
    "similar",
    "softmax_bald",
    "softrank_bald",
    "stochastic",
    "strategy",
    "strategy_names",
    "subsample",
    "tcm",
    "typiclust",
    "uherding",
    "uncertain_coreset",
    "uncertain_then_diverse",
    "variation_ratio",
    "vessal",
    "vote_entropy",
    "warm_up",
]

for _factory in _FACTORIES:
    register(_factory.__name__, _factory)
