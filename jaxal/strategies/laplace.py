"""Disagreement under a Laplace approximation of the last layer."""

from collections.abc import Callable
from typing import Literal, get_args

import jax
from jax import Array

from jaxal import scores
from jaxal.checks import check_positive
from jaxal.embeddings.base import with_bias
from jaxal.posteriors.laplace import (
    kronecker_draws,
    laplace_draws,
    laplace_logits,
    laplace_posterior,
)
from jaxal.readings import field
from jaxal.registry import register, strategy
from jaxal.selection import top_k
from jaxal.types import Selection, Strategy, View, stateless

Structure = Literal["kronecker", "full"]


@register(
    "laplace_bald",
    small={"num_samples": 5},
    family="disagreement, one network",
    cost="O(N (C^2 + D^2) + S N C D)",
    budget="many labels",
)
def laplace_bald(
    *,
    num_samples: int = 20,
    prior_precision: float = 1.0,
    bias: bool = True,
    structure: Structure = "kronecker",
) -> Strategy:
    r"""Returns BALD under a Laplace approximation of the last layer.

    One trained network is enough: its last layer is drawn `S` times from the Gaussian
    that the curvature of the labelled rows' loss leaves, $\mathcal N(W, (t I +
    \sum_n F_n)^{-1})$, and BALD is computed from the draws.

    Cost: `S N C D`, and for the posterior `N (C^2 + D^2) + C^3 + D^3`; with the full
    covariance `(C D)^2 (C D + L)` for L labelled rows, and memory for a few matrices
    `[C D, C D]`: up to some ten thousand weights of the last layer.

    Args:
      num_samples: last layers to draw, S.
      prior_precision: t, the weight decay of the summed loss, positive.
      bias: whether the last layer has a bias that is uncertain too.
      structure: of the posterior: "kronecker", the paper's default, or "full".

    Raises:
      ValueError: `num_samples` is not positive, or `structure` is neither.

    Reference:
      Daxberger et al., "Laplace Redux: Effortless Bayesian Deep Learning", NeurIPS
      2021. https://arxiv.org/abs/2106.14806
    """
    draw = _laplace(num_samples, prior_precision, bias, structure)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_draws, key_ties = jax.random.split(key)
        samples = draw(key_draws, view)
        worth = scores.bald(samples)
        return top_k(key_ties, worth, view.is_available, batch_size=batch_size)

    return stateless({"logits", "features"}, select)


@register(
    "laplace_batch_bald",
    small={"num_samples": 5, "num_configurations": 9},
    family="disagreement, one network, diverse",
    cost="O(N (C^2 + D^2) + S N C D + K B S C A)",
    budget="many labels",
)
def laplace_batch_bald(
    *,
    num_samples: int = 20,
    prior_precision: float = 1.0,
    bias: bool = True,
    structure: Structure = "kronecker",
    num_candidates: int | None = 10_000,
    num_configurations: int = 1024,
    num_draws: int = 256,
) -> Strategy:
    """Returns BatchBALD under a Laplace approximation of the last layer.

    As `laplace_bald` draws them, as `batch_bald` picks; all draws `[S, N, C]` are in
    memory.

    Args:
      num_samples: last layers to draw, S.
      prior_precision: t, the weight decay of the summed loss, positive.
      bias: whether the last layer has a bias that is uncertain too.
      structure: of the posterior, as for `laplace_bald`.
      num_candidates: rows of highest BALD that are looked at, None for all.
      num_configurations: most answers to a batch to enumerate.
      num_draws: answers drawn once there are more.

    Raises:
      ValueError: a number is not positive, or `structure` is neither.

    Reference:
      Daxberger et al., "Laplace Redux: Effortless Bayesian Deep Learning", NeurIPS
      2021. https://arxiv.org/abs/2106.14806. Kirsch et al., "BatchBALD", NeurIPS 2019.
      https://arxiv.org/abs/1906.08158
    """
    draw = _laplace(num_samples, prior_precision, bias, structure)
    jointly = strategy(
        "batch_bald",
        num_candidates=num_candidates,
        num_configurations=num_configurations,
        num_draws=num_draws,
    )

    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_draws, key = jax.random.split(key)
        seen = view._replace(samples=draw(key_draws, view))
        return jointly.select(key, seen, batch_size)

    return stateless({"logits", "features"}, select)


def _laplace(
    num_samples: int, prior_precision: float, bias: bool, structure: Structure
) -> Callable[[Array, View], Array]:
    """Returns what draws logits `[S, N, C]` from the posterior of the last layer."""
    check_positive(num_samples=num_samples)
    if structure not in get_args(Structure):
        raise ValueError(
            f"structure is {structure!r}, expected one of {get_args(Structure)}."
        )

    def draw(key: Array, view: View) -> Array:
        logits, features = field(view, "logits"), field(view, "features")
        features = with_bias(features) if bias else features
        arrays, known = (logits, features), view.is_labelled
        if structure == "full":
            posterior = laplace_posterior(
                *arrays, known, prior_precision=prior_precision
            )
            return laplace_logits(laplace_draws(key, posterior, num_samples), *arrays)
        layers = kronecker_draws(
            key,
            *arrays,
            known,
            num_samples=num_samples,
            prior_precision=prior_precision,
        )
        return laplace_logits(layers, *arrays)

    return draw
