"""Multinomial logistic regression that is solved, its penalty chosen by its rows."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxal.metrics import classification_metrics
from jaxal.posteriors.last_layer import laplace
from jaxal.posteriors.networks import mean_probabilities
from jaxal.training.heads.chosen_softmax import fit_rows
from jaxal.training.heads.linear import (
    Candidates,
    Head,
    LabelledDesign,
    Scaling,
    candidates,
    linear_model,
    solved,
)
from jaxal.training.heads.rows import Moments, centred_rows, pool_moments
from jaxal.training.rows import checked_weights, labelled_numbers, weights_of
from jaxal.training.tasks import FitInfo, Task, cross_entropy
from jaxal.types import Pool, Variables


class _Settings(NamedTuple):
    num_classes: int
    candidates: Candidates
    capacity: int | None
    class_weights: Array | None  # [C]
    row_weights: Array | None  # [N]
    soft_labels: Array | None  # [N, C]


def logistic_head(
    num_classes: int,
    *,
    scaling: Scaling = "choose",
    penalty: float | None = None,
    capacity: int | None = None,
    class_weights: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    soft_labels: ArrayLike | None = None,
    num_samples: int = 20,
) -> Head:
    r"""Returns multinomial logistic regression, solved to convergence in every round.

    $\min_W \sum_n w_n H(t_n, \mathrm{softmax}(W z_n + b)) + \frac\lambda2 |W|^2 +
    \frac12 |b|^2$ on the labelled rows, $z_n$ being centred inputs scaled to a mean
    squared norm of one over the pool. Penalty and scaling are those of the least
    approximate leave-one-out loss on the labelled rows, plus what the penalty is off
    the usual ($\log_{10} \lambda \sim \mathcal N(-1.25, 1)$); they are chosen anew when
    labels have grown by half. The bias has a penalty too: a class nobody has seen yet
    is unlikely, not impossible.

    The penalty is kept in the scaling: features are $z / \sqrt\lambda$, so that weights
    have a standard normal prior, and `laplace(head.model)` is the Laplace approximation
    of this model as it stands; `head.posterior` is that, and knows the rows' weights.

    Args:
      num_classes: C.
      scaling: "one" number for all columns, as embeddings, images and texts want it;
        "columns", each by its own deviation, as tables do; or "choose".
      penalty: $\lambda$, by default chosen between 1e-3 and 3.
      capacity: the most labelled rows there will ever be; by default the size of the
        pool. A loop refuses to buy more.
      class_weights: `[C]`, weights of rows by class, at least 0.
      row_weights: `[N]`, weights of rows of the pool, at least 0.
      soft_labels: `[N, C]` distributions over classes that take the place of a row's
        label, once it has one.
      num_samples: draws of `posterior`.

    Returns:
      A `Head`: model, learner and Laplace posterior.

    Raises:
      ValueError: a setting is out of its range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import logistic_head, make_pool
      >>> inputs = jnp.array([[-1.0], [-2.0], [1.0], [2.0]])
      >>> pool = make_pool(inputs, jnp.array([0, 0, 1, 1]))
      >>> head = logistic_head(2)
      >>> state = head.learner.init(jax.random.key(0), pool.inputs)
      >>> state, info = jax.jit(head.learner.fit)(jax.random.key(1), state, pool)
      >>> head.model.apply(state, inputs)[0].logits.argmax(-1).tolist()
      [0, 0, 1, 1]

    Reference:
      Rad and Maleki, "A Scalable Estimate of the Out-of-Sample Prediction Error via
      Approximate Leave-One-Out", JRSS B 2020. https://doi.org/10.1111/rssb.12374
    """
    settings = _Settings(
        num_classes,
        candidates(scaling, penalty),
        capacity,
        checked_weights("class_weights", class_weights, (num_classes,)),
        checked_weights("row_weights", row_weights, (None,)),
        checked_weights("soft_labels", soft_labels, (None, num_classes)),
    )
    model = linear_model(num_classes)
    task = Task(cross_entropy, classification_metrics, mean_probabilities)

    learner = solved(model, partial(_fit, settings), task, capacity)

    def weights(pool: Pool, rows: Array) -> Array:
        return _said(settings, pool, rows, jnp.float32)[1]

    posterior = laplace(model, num_samples=num_samples, weights=weights)
    return Head(model, learner, posterior)


def _fit(
    settings: _Settings, variables: Variables, pool: Pool
) -> tuple[Variables, FitInfo]:
    moments = pool_moments(pool)
    rows = _labelled(settings, pool, moments)

    params, scale, choice, info = fit_rows(
        settings.candidates, variables["choice"], moments, rows, variables
    )
    return {"params": params, "scale": scale, "choice": choice}, info


def _labelled(settings: _Settings, pool: Pool, moments: Moments) -> LabelledDesign:
    """The labelled rows, centred, with distributions over classes."""
    rows, is_used = labelled_numbers(pool, settings.capacity)
    inputs = centred_rows(pool, rows, is_used, moments.mean)
    targets, weights = _said(settings, pool, rows, inputs.dtype)
    return LabelledDesign(inputs, is_used, targets, jnp.where(is_used, weights, 0))


def _said(
    settings: _Settings, pool: Pool, rows: Array, dtype: DTypeLike
) -> tuple[Array, Array]:
    """Distributions over classes `[B, C]` and weights `[B]` of labelled rows."""
    targets = jax.nn.one_hot(pool.labels[rows], settings.num_classes, dtype=dtype)
    if settings.soft_labels is not None:
        targets = settings.soft_labels.astype(dtype)[rows]
    weights = jnp.ones(rows.shape[0], dtype)
    if settings.class_weights is not None:
        weights *= targets @ settings.class_weights.astype(dtype)
    if settings.row_weights is not None:
        weights *= weights_of(settings.row_weights, rows).astype(dtype)
    return targets, weights
