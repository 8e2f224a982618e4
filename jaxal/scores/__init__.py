"""Scores: pure functions from logits to one number a row, higher worth labelling more.

One network, `[..., C]` logits: `entropy`, `margin`, `least_confidence`,
`expected_gradient_length`. Posterior samples, `[S, ..., C]`: `bald`, `consensus_kl`,
`consensus_entropy`, `expected_entropy`, `mean_std`, `vote_entropy`, `variation_ratio`,
and `log_mean_prob` for logits of the mean. Each has a `..._stream` that takes the
samples one at a time. Gaussian predictions of regression, `[S, ..., 2]`:
`predictive_variance`, `gaussian_bald`. Sigmoid columns: `per_label` of any of those of
classes.
"""

from jaxal.scores.density import information_density
from jaxal.scores.disagreement import (
    bald,
    consensus_entropy,
    consensus_kl,
    expected_entropy,
    log_mean_prob,
    mean_std,
)
from jaxal.scores.epig import epig
from jaxal.scores.error_reduction import expected_error_reduction
from jaxal.scores.gaussian import gaussian_bald, predictive_variance
from jaxal.scores.gradients import expected_gradient_length
from jaxal.scores.per_label import per_label
from jaxal.scores.streaming import (
    Stream,
    bald_stream,
    consensus_entropy_stream,
    expected_entropy_stream,
    log_mean_prob_stream,
    mean_std_stream,
    variation_ratio_stream,
    vote_entropy_stream,
)
from jaxal.scores.uncertainty import entropy, least_confidence, margin
from jaxal.scores.votes import variation_ratio, vote_entropy

__all__ = [
    "Stream",
    "bald",
    "bald_stream",
    "consensus_entropy",
    "consensus_entropy_stream",
    "consensus_kl",
    "entropy",
    "epig",
    "expected_entropy",
    "expected_entropy_stream",
    "expected_error_reduction",
    "expected_gradient_length",
    "gaussian_bald",
    "information_density",
    "least_confidence",
    "log_mean_prob",
    "log_mean_prob_stream",
    "margin",
    "mean_std",
    "mean_std_stream",
    "per_label",
    "predictive_variance",
    "variation_ratio",
    "variation_ratio_stream",
    "vote_entropy",
    "vote_entropy_stream",
]
