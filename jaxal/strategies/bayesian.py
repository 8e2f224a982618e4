"""Strategies over posterior samples: what labels say of predictions, or jointly."""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import scores, selection
from jaxal.posteriors.laplace import (
    kronecker_draws,
    laplace_draws,
    laplace_logits,
    laplace_posterior,
)
from jaxal.selection import top_k
from jaxal.strategies.fields import field
from jaxal.strategies.parts import check_positive, draw_rows, in_pool, with_bias
from jaxal.types import Selection, Strategy, View

Structure = Literal["kronecker", "full"]


def epig(
    *,
    num_targets: int = 100,
    targets: Array | None = None,
    target_samples: Array | None = None,
) -> Strategy:
    r"""Returns EPIG: rows whose label says most about predictions on target inputs.

    $\mathbb{E}_{x_*} I(y; y_* \mid x, x_*)$. Where predictions will be wanted is said
    by the targets: by default rows of the pool drawn afresh each round; or rows named
    by number, which may be rows of the pool that are not for sale; or sample logits
    made elsewhere, for a posterior that does not change.

    Cost: `S N M C^2` operations in blocks, and all samples `[S, N, C]` in memory.

    Args:
      num_targets: how many rows to draw, M. The default is that of the authors' code.
      targets: `[M]` row numbers of the pool, in place of drawing.
      target_samples: `[S, M, C]` logits, in place of rows; of the same S networks (and
        dropout masks) as the view's.

    Returns:
      A `Strategy` that needs samples.

    Raises:
      ValueError: `num_targets` is not positive, or targets are given in two ways.

    Example:
      >>> from jaxal.strategies import epig
      >>> sorted(epig().needs)
      ['samples']

    Reference:
      Bickford Smith et al., "Prediction-Oriented Bayesian Active Learning", AISTATS
      2023. https://arxiv.org/abs/2304.08151
    """
    check_positive(num_targets=num_targets)
    if targets is not None and target_samples is not None:
        raise ValueError(
            "epig was given targets and target_samples. Pass row numbers of the pool, "
            "or sample logits of other inputs."
        )

    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_targets, key_ties = jax.random.split(key)
        samples = field(view, "samples")
        others, is_target = target_samples, None
        if others is None:
            rows, is_target = _targets(key_targets, view, targets, num_targets)
            others = samples[:, rows]
        worth = scores.epig(samples, others, is_target=is_target)
        return top_k(key_ties, worth, view.is_available, batch_size=batch_size)

    return Strategy(frozenset({"samples"}), select)


def batch_bald(
    *,
    num_candidates: int | None = 10_000,
    num_configurations: int = 1024,
    num_draws: int = 256,
) -> Strategy:
    r"""Returns BatchBALD: the batch whose labels jointly say most about the model.

    Greedy in $I(y_1, \ldots, y_K; \omega)$, where BALD adds up the rows' own
    information and buys a thing twice.

    BALD bounds what a row can add, so looking only at the rows of highest BALD loses
    little, and it bounds the memory: `num_candidates` rows are kept, at least the
    batch. A pool with more near-copies of its best rows than that wants all of them,
    None. Cost: `S N C`, and at most `2 M S C` operations for M answers, each candidate
    and each pick; see `jaxal.batch_bald`.

    Args:
      num_candidates: rows of highest BALD that are looked at, None for all. The paper
        looks at all.
      num_configurations: most answers to a batch to enumerate.
      num_draws: answers drawn once there are more.

    Returns:
      A `Strategy` that needs samples.

    Raises:
      ValueError: `num_candidates` is not positive.

    Example:
      >>> from jaxal.strategies import batch_bald
      >>> sorted(batch_bald().needs)
      ['samples']

    Reference:
      Kirsch, van Amersfoort and Gal, "BatchBALD: Efficient and Diverse Batch
      Acquisition for Deep Bayesian Active Learning", NeurIPS 2019.
      https://arxiv.org/abs/1906.08158
    """
    jointly = _jointly(num_candidates, num_configurations, num_draws)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return jointly(key, field(view, "samples"), view.is_available, batch_size)

    return Strategy(frozenset({"samples"}), select)


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

    Returns:
      A `Strategy` that needs logits and features.

    Raises:
      ValueError: `num_samples` is not positive, or `structure` is neither.

    Example:
      >>> from jaxal.strategies import laplace_bald
      >>> sorted(laplace_bald().needs)
      ['features', 'logits']

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

    return Strategy(frozenset({"logits", "features"}), select)


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

    Returns:
      A `Strategy` that needs logits and features.

    Raises:
      ValueError: a number is not positive, or `structure` is neither.

    Example:
      >>> from jaxal.strategies import laplace_batch_bald
      >>> sorted(laplace_batch_bald().needs)
      ['features', 'logits']

    Reference:
      Daxberger et al., "Laplace Redux: Effortless Bayesian Deep Learning", NeurIPS
      2021. https://arxiv.org/abs/2106.14806. Kirsch et al., "BatchBALD", NeurIPS 2019.
      https://arxiv.org/abs/1906.08158
    """
    draw = _laplace(num_samples, prior_precision, bias, structure)
    jointly = _jointly(num_candidates, num_configurations, num_draws)

    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_draws, key = jax.random.split(key)
        samples = draw(key_draws, view)
        return jointly(key, samples, view.is_available, batch_size)

    return Strategy(frozenset({"logits", "features"}), select)


def _targets(
    key: Array, view: View, targets: Array | None, num_targets: int
) -> tuple[Array, Array]:
    if targets is None:
        return draw_rows(key, view.is_available | view.is_labelled, num_targets)
    return jnp.asarray(targets), jnp.ones(len(targets), bool)


def _jointly(
    num_candidates: int | None, num_configurations: int, num_draws: int
) -> Callable[[Array, Array, Array, int], Selection]:
    """BatchBALD among the rows of highest BALD."""
    if num_candidates is not None:
        check_positive(num_candidates=num_candidates)
    sizes = {"num_configurations": num_configurations, "num_draws": num_draws}

    def select(
        key: Array, samples: Array, is_available: Array, batch_size: int
    ) -> Selection:
        num_rows = is_available.shape[0]
        num = num_rows if num_candidates is None else num_candidates
        num = min(max(num, batch_size), num_rows)
        if num == num_rows:
            pick = selection.batch_bald
            return pick(key, samples, is_available, batch_size=batch_size, **sizes)
        best = top_k(key, scores.bald(samples), is_available, batch_size=num)
        rows = jnp.where(best.is_valid, best.indices, 0)
        kept = samples[:, rows]
        picks = selection.batch_bald(
            key, kept, best.is_valid, batch_size=batch_size, **sizes
        )
        return in_pool(picks, rows, is_available)

    return select


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
