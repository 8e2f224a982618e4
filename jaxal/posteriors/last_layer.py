"""Laplace as a posterior: one trained network, and last layers drawn around its own."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.checks import check_positive
from jaxal.curvature import softmax_curvature
from jaxal.pools.inputs import take_rows
from jaxal.posteriors.laplace import (
    KroneckerSums,
    draw_full,
    draw_kronecker,
    evidence_precision,
    full_posterior,
    full_precision,
    kronecker_posterior,
    kronecker_sums,
    laplace_logits,
)
from jaxal.posteriors.networks import by_samples, deterministic
from jaxal.types import Model, Output, Pool, Posterior, Variables

Structure = Literal["kronecker", "full"]
_CHUNK = 512


class LaplaceState(NamedTuple):
    """A trained network, and the Gaussian around its last layer."""

    variables: Variables
    layer: Any  # KroneckerPosterior, or a root of the covariance [C, D, C D]


def laplace(
    model: Model,
    structure: Structure = "kronecker",
    *,
    num_samples: int = 20,
    prior_precision: float | Literal["evidence"] = 1.0,
    bias: bool = True,
    weights: Callable[[Pool, Array], Array] | None = None,
) -> Posterior:
    r"""Returns the Laplace approximation of a network's last layer.

    One trained network is enough. `fit` takes the curvature of the labelled rows'
    loss, and samples are last layers from the Gaussian that it leaves,
    $\mathcal N(W, (t I + \sum_n F_n)^{-1})$, each for the whole pool. The prediction is
    the mean of the draws' probabilities.

    Cost: a pass over the L labelled rows, and `C^3 + D^3` ("kronecker") or
    `(C D)^2 (C D + L)` operations ("full", with a few matrices `[C D, C D]` in memory:
    up to some ten thousand weights); then `S C D` a row.

    Args:
      model: a network whose features are what its last, linear layer sees.
      structure: "kronecker", one product of a matrix of classes and one of features,
        the paper's default; or "full".
      num_samples: last layers to draw, `S`.
      prior_precision: t, the weight decay of the summed loss, positive; or "evidence",
        under which the labels are likeliest, anew in each fit.
      bias: whether the last layer has a bias that is uncertain too.
      weights: from a pool and numbers `[B]` of labelled rows to what their losses were
        multiplied with, `[B]`; by default 1. Soft labels change nothing: the curvature
        of a cross-entropy is the same whatever the label.

    Returns:
      A `Posterior` for classification.

    Raises:
      ValueError: a setting is out of its range; or, when it is asked, the model
        returns no features or has a single output.

    Example:
      >>> from jaxal import active_learner, laplace, strategy, supervised
      >>> from jaxal.models import logistic_regression
      >>> model = logistic_regression(2)
      >>> loop = active_learner(
      ...     model, supervised(model), strategy("bald"), batch_size=4,
      ...     posterior=laplace(model))

    Reference:
      Daxberger et al., "Laplace Redux: Effortless Bayesian Deep Learning", NeurIPS
      2021. https://arxiv.org/abs/2106.14806
    """
    _check_settings(structure, num_samples, prior_precision)

    def outputs(variables: Variables, inputs: Array) -> tuple[Array, Array, Output]:
        return _outputs(model.apply(variables, inputs)[0], bias)

    def fit(key: Array, variables: Variables, pool: Pool) -> LaplaceState:
        del key
        parts = _PARTS[structure]
        shapes = jax.eval_shape(outputs, variables, take_rows(pool.inputs, slice(1)))[
            :2
        ]
        size = (shapes[0].shape[1], shapes[1].shape[1])

        def some(rows: Array, is_counted: Array) -> Any:
            logits, features, _ = outputs(variables, take_rows(pool.inputs, rows))
            mask = is_counted[:, None]  # what is not counted may be NaN
            features = jnp.where(mask, features, 0)
            logits = jnp.where(mask, logits, 0)
            counts = is_counted
            if weights is not None:
                counts = jnp.where(is_counted, weights(pool, rows), 0)
            return parts.sums(logits, features, counts)

        sums = sum_over_labelled(some, pool.is_labelled)
        is_found = prior_precision == "evidence"
        prior = evidence_precision(parts.simple(sums)) if is_found else prior_precision
        return LaplaceState(variables, parts.fit(sums, size, prior))

    def sample(key: Array, state: LaplaceState, inputs: Array) -> Output:
        logits, features, output = outputs(state.variables, inputs)
        draws = _PARTS[structure].draw(key, state.layer, num_samples)
        return Output(laplace_logits(draws, logits, features), output.features)

    def network(state: LaplaceState, inputs: Array) -> Output:
        return deterministic(model).network(state.variables, inputs)

    return by_samples(num_samples, sample, network, fit=fit)


def sum_over_labelled(fn: Callable[[Array, Array], Any], is_labelled: Array) -> Any:
    """Returns the sum of `fn(rows [B], is_counted [B])` over chunks of labelled rows.

    Args:
      fn: from row numbers and a mask of those that count to a pytree of sums.
      is_labelled: `[N]` bool; the cost is that of the rows that are.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.posteriors.last_layer import sum_over_labelled
      >>> is_labelled = jnp.array([True, False, True])
      >>> sum_over_labelled(lambda rows, counted: (rows * counted).sum(), is_labelled)
      Array(2, dtype=int32)
    """
    num_rows = is_labelled.shape[0]
    chunk = min(_CHUNK, num_rows)
    # Labelled rows first, so that the loop can stop after them.
    order = jnp.argsort(~is_labelled, stable=True).astype(jnp.int32)

    def part(index: Array) -> Any:
        start = jnp.minimum(index * chunk, num_rows - chunk)
        rows = jax.lax.dynamic_slice_in_dim(order, start, chunk)
        # The last chunk overlaps the one before it: those rows were counted.
        is_new = start + jnp.arange(chunk, dtype=jnp.int32) >= index * chunk
        return fn(rows, is_new & is_labelled[rows])

    def add(index: Array, total: Any) -> Any:
        return jax.tree.map(jnp.add, total, part(index))

    shapes = jax.eval_shape(part, jnp.int32(0))
    empty = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    num_chunks = -(-is_labelled.sum(dtype=jnp.int32) // chunk)
    return jax.lax.fori_loop(jnp.int32(0), num_chunks, add, empty)


class _Parts(NamedTuple):
    """How one structure of the curvature is summed, fitted and drawn from."""

    sums: Callable[[Array, Array, Array], Any]
    simple: Callable[[Any], KroneckerSums]  # which evidence is taken from
    fit: Callable[[Any, tuple[int, int], Any], Any]
    draw: Callable[[Array, Any, int], Array]


_PARTS = {
    "kronecker": _Parts(
        kronecker_sums,
        lambda sums: sums,
        lambda sums, size, prior: kronecker_posterior(sums, prior),
        draw_kronecker,
    ),
    "full": _Parts(
        lambda logits, *rows: (
            softmax_curvature(jax.nn.softmax(logits), *rows),
            kronecker_sums(logits, *rows),
        ),
        lambda sums: sums[1],
        lambda sums, size, prior: full_posterior(sums[0], size, prior),
        draw_full,
    ),
}


def _outputs(output: Output, bias: bool) -> tuple[Array, Array, Output]:
    """Logits and features, a one appended where there is a bias, in full precision."""
    logits, features = output.logits, output.features
    if features is None:
        raise ValueError(
            "laplace needs features, and the model returns none. Return "
            "Output(logits, features), features being what the last layer sees."
        )
    if logits.shape[-1] == 1:
        raise ValueError(
            "laplace is for classification, and the model has one output. For "
            "regression use an ensemble or mc_dropout."
        )
    logits, features = full_precision(logits), full_precision(features)
    if bias:
        ones = jnp.ones_like(features[:, :1])
        features = jnp.concatenate([features, ones], axis=-1)
    return logits, features, output


def _check_settings(
    structure: str, num_samples: int, prior_precision: float | str | Array
) -> None:
    if structure not in get_args(Structure):
        raise ValueError(
            f"structure is {structure!r}, expected one of {get_args(Structure)}."
        )
    check_positive(num_samples=num_samples)
    if isinstance(prior_precision, str):
        is_right = prior_precision == "evidence"
    else:
        is_right = isinstance(prior_precision, Array) or prior_precision > 0
    if not is_right:
        raise ValueError(
            f"prior_precision is {prior_precision!r}, expected a positive number, or "
            "'evidence': with 0 nothing holds the weights that no label says anything "
            "about."
        )
