"""Softmax regression on rows at hand, its scaling and penalty chosen by them."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxal.training.heads.leave_one_out import leave_one_out_loss
from jaxal.training.heads.linear import (
    Candidates,
    LabelledDesign,
    chosen,
    in_basis,
    moved_to,
    scales,
)
from jaxal.training.heads.rows import Moments
from jaxal.training.heads.softmax import SoftmaxProblem, mean_loss, solve_softmax
from jaxal.training.tasks import FitInfo
from jaxal.types import Variables


def fit_rows(
    options: Candidates,
    old: Any,
    moments: Moments,
    rows: LabelledDesign,
    start: Variables | None = None,
) -> tuple[Any, Any, Any, FitInfo]:
    """Returns parameters, their scaling, the choice, and what the fit has to say.

    Args:
      options: what there is to choose between.
      old: what was chosen before, see `chosen`.
      moments: of the pool.
      rows: those labelled, centred, with distributions over classes.
      start: "params" and their "scale" to start from, by default zeros.
    """

    def losses(rows: LabelledDesign, penalties: Array) -> Array:
        problem = _problem(rows, penalties)
        return leave_one_out_loss(problem, solve_softmax(problem).coefficients)

    choice = chosen(options, old, moments, rows, losses)
    scale = scales(moments, choice)
    basis = in_basis(rows.inputs * scale["factor"][None])
    ones = jnp.ones(1, basis.design.dtype)
    problem = _problem(rows._replace(inputs=basis.design), ones)
    first = None if start is None else basis.inwards(moved_to(start, scale))[None]
    fit = solve_softmax(problem, first)
    loss = mean_loss(problem, fit.coefficients)
    info = FitInfo(loss, fit.num_steps, problem.num_rows)
    return basis.outwards(fit.coefficients[0]), scale, choice, info


def _problem(rows: LabelledDesign, penalties: Array) -> SoftmaxProblem:
    """Rows as they are, with one model for each penalty of the weights."""
    width = rows.inputs.shape[1] - 1
    of_weights = jnp.broadcast_to(penalties[:, None], (penalties.shape[0], width))
    penalty = jnp.concatenate([of_weights, jnp.ones_like(penalties)[:, None]], axis=1)
    count = rows.is_used.sum(dtype=jnp.int32)
    return SoftmaxProblem(rows.inputs, rows.targets, rows.weights, penalty, count)
