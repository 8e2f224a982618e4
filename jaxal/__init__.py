"""jaxal: functional active learning for JAX.

Which examples to label next, training on them, and whether the choice was worth it, as
pure functions over a pool of fixed size.
"""

from jaxal.embeddings import Dense, Embedding, Outer, as_embedding, gradient_embedding
from jaxal.initial import class_balanced_rows, random_rows
from jaxal.learner import FitInfo, FitState, cross_entropy, supervised
from jaxal.loop import (
    ActiveLearner,
    LoopState,
    RoundInfo,
    active_learner,
    seed_axes,
    tell,
)
from jaxal.metrics import Metrics, classification_metrics, expected_calibration_error
from jaxal.oracles import array_oracle, noisy_oracle, reluctant_oracle
from jaxal.pool import POOL_AXIS, make_pool, map_rows, pool_mesh, reveal
from jaxal.posterior import deep_ensemble, deterministic, mc_dropout
from jaxal.scores import (
    bald,
    consensus_entropy,
    consensus_kl,
    entropy,
    expected_entropy,
    expected_gradient_length,
    least_confidence,
    log_mean_prob,
    margin,
    mean_std,
    variation_ratio,
    vote_entropy,
)
from jaxal.selection import gumbel_top_k, k_center, k_means_plus_plus, top_k
from jaxal.statistics import (
    Interval,
    PairedTest,
    area_under_curve,
    label_savings,
    labels_to_target,
    mean_interval,
    paired_difference,
)
from jaxal.strategies import by_score, by_selector, register, strategy, strategy_names
from jaxal.types import (
    Learner,
    Model,
    Oracle,
    Output,
    Pool,
    Posterior,
    Selection,
    Strategy,
    View,
)

__version__ = "0.1.0"

__all__ = [
    "ActiveLearner",
    "Dense",
    "Embedding",
    "FitInfo",
    "FitState",
    "Interval",
    "Learner",
    "LoopState",
    "Metrics",
    "Model",
    "Oracle",
    "Outer",
    "Output",
    "POOL_AXIS",
    "PairedTest",
    "Pool",
    "Posterior",
    "RoundInfo",
    "Selection",
    "Strategy",
    "View",
    "active_learner",
    "area_under_curve",
    "array_oracle",
    "as_embedding",
    "bald",
    "by_score",
    "by_selector",
    "class_balanced_rows",
    "classification_metrics",
    "consensus_entropy",
    "consensus_kl",
    "cross_entropy",
    "deep_ensemble",
    "deterministic",
    "entropy",
    "expected_calibration_error",
    "expected_entropy",
    "expected_gradient_length",
    "gradient_embedding",
    "gumbel_top_k",
    "k_center",
    "k_means_plus_plus",
    "label_savings",
    "labels_to_target",
    "least_confidence",
    "log_mean_prob",
    "make_pool",
    "map_rows",
    "margin",
    "mc_dropout",
    "mean_interval",
    "mean_std",
    "noisy_oracle",
    "paired_difference",
    "pool_mesh",
    "random_rows",
    "register",
    "reluctant_oracle",
    "reveal",
    "seed_axes",
    "strategy",
    "strategy_names",
    "supervised",
    "tell",
    "top_k",
    "variation_ratio",
    "vote_entropy",
]
