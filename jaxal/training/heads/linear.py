"""Linear models whose inputs are scaled inside, and how a solver sees their rows."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg
from jaxal.modes import in_any_mode
from jaxal.pools.inputs import take_rows
from jaxal.training.heads.rows import (
    Moments,
    column_factors,
    flat,
    has_grown,
    once_if,
    scaled,
    some_rows,
)
from jaxal.training.tasks import FitInfo, Task, evaluator
from jaxal.types import Learner, Model, Output, Pool, Posterior, Variables

Scaling = Literal["choose", "one", "columns"]
# Of rows whose mean squared norm is one: from next to nothing to next to no model.
_PENALTIES = tuple(10.0 ** (-3 + 7 / 12 * i) for i in range(7))
# What a penalty is before any label is seen: decades, a mean and a deviation.
_USUAL, _DECADES = -1.25, 1.0
_MOST_CHOOSING = 512
_SPARE = 64  # roundings of a Gram matrix


class Head(NamedTuple):
    """A solved model: what a loop needs of it."""

    model: Model  # for any posterior, and for strategies that read features
    learner: Learner
    posterior: Posterior  # its own


def solved(
    model: Model,
    fit: Callable[[Variables, Pool], tuple[Variables, FitInfo]],
    task: Task,
    capacity: int | None,
) -> Learner:
    """Returns the learner of a model that is solved: nothing is left to chance."""

    def fit_without_chance(key: Array, *args: Any) -> tuple[Variables, FitInfo]:
        del key
        return fit(*args)

    evaluate = evaluator(lambda v, x: model.apply(v, x)[0], task.metrics)
    learner = Learner(model.init, fit_without_chance, evaluate)
    return in_any_mode(learner._replace(capacity=capacity, task=task))


class Candidates(NamedTuple):
    """Among what scaling and penalty are chosen."""

    by_column: tuple[bool, ...]
    penalties: tuple[float, ...]

    @property
    def is_decided(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.by_column) == len(self.penalties) == 1


class LabelledDesign(NamedTuple):
    """Labelled rows first, and what a head knows of them."""

    inputs: Array  # [L, D], zeros where not in use
    is_used: Array  # [L] bool
    targets: Array  # [L, ...]
    weights: Array  # [L], 0 where not in use


class Basis(NamedTuple):
    """Rows as a solver sees them: in no more columns than there are rows."""

    design: Array  # [L, E], a column of ones last
    rows: Array | None  # [L, D] that are `design` in other columns; None: the same

    def inwards(self, params: Any) -> Array:
        """Returns coefficients `[E, C]` of a kernel `[D, C]` and a bias `[C]`."""
        kernel = params["kernel"]
        if self.rows is not None:
            logits = linalg.product(self.rows, kernel)
            kernel = linalg.solve_lower(self.design[:, :-1], logits)
        return jnp.concatenate([kernel, params["bias"][None]])

    def outwards(self, coefficients: Array) -> dict[str, Array]:
        """Returns kernel and bias of coefficients."""
        kernel, bias = coefficients[:-1], coefficients[-1]
        if self.rows is not None:
            kernel = linalg.solve_lower_transposed(self.design[:, :-1], kernel)
            kernel = linalg.product(self.rows.T, kernel)
        return {"kernel": kernel, "bias": bias}


def linear_model(num_outputs: int) -> Model:
    """Returns a linear model that scales its inputs; they are flattened.

    Its features are the scaled inputs. Beside "params" its variables hold "scale",
    with which inputs are scaled, and "choice", what was chosen and on how many rows.

    Args:
      num_outputs: C.
    """

    def init(key: Array, inputs: Array) -> Variables:
        del key
        row = flat(take_rows(inputs, slice(1)))[0]
        zero, one = jnp.zeros_like(row), jnp.ones_like(row)
        return {
            "params": {
                "kernel": jnp.zeros((row.shape[0], num_outputs), row.dtype),
                "bias": jnp.zeros(num_outputs, row.dtype),
            },
            "scale": {"shift": zero, "factor": one},
            "choice": {
                "penalty": jnp.ones([], row.dtype),
                "by_column": jnp.zeros([], bool),
                "num_labelled": jnp.zeros([], jnp.int32),
            },
        }

    def apply(
        variables: Variables,
        inputs: Array,
        *,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Output, Variables]:
        del key, train
        params = variables["params"]
        features = scaled(variables["scale"], inputs)
        return Output(features @ params["kernel"] + params["bias"][None], features), (
            variables
        )

    return in_any_mode(Model(init, apply))


def candidates(
    scaling: str, penalty: float | None, penalties: tuple[float, ...] = _PENALTIES
) -> Candidates:
    """Returns what there is to choose between.

    Raises:
      ValueError: a setting is out of its range.
    """
    if scaling not in get_args(Scaling):
        raise ValueError(
            f"scaling is {scaling!r}, expected one of {get_args(Scaling)}."
        )
    if penalty is not None and not penalty > 0:
        raise ValueError(
            f"penalty is {penalty}, expected a positive number, or None to choose it."
        )
    ways = {"choose": (False, True), "one": (False,), "columns": (True,)}
    return Candidates(ways[scaling], penalties if penalty is None else (penalty,))


def unusual(penalties: Array) -> Array:
    """Returns minus the log-prior of penalties, nats: few rows alone say too little.

    Args:
      penalties: `[G]`.
    """
    return 0.5 * ((jnp.log10(penalties) - _USUAL) / _DECADES) ** 2


def chosen(
    options: Candidates,
    old: Any,
    moments: Moments,
    rows: LabelledDesign,
    losses: Callable[[LabelledDesign, Array], Array],
) -> Any:
    """Returns scaling and penalty, those of before unless labels have grown.

    Args:
      options: what there is to choose between.
      old: what was chosen before.
      moments: of the pool.
      rows: those labelled, centred, of which at most 512 choose: the prior of more
        rows is the same.
      losses: from rows whose inputs are a design `[L, E]`, and penalties `[G]`, to
        losses `[G]`.
    """
    count = rows.is_used.sum(dtype=jnp.int32)
    ways = jnp.asarray(options.by_column)
    penalties = jnp.asarray(options.penalties, moments.mean.dtype)

    def choose(
        ways: Array, penalties: Array, moments: Moments, rows: LabelledDesign
    ) -> Any:
        def of_way(by_column: Array) -> Array:
            factors = column_factors(moments, by_column)
            design = in_basis(rows.inputs * factors[None]).design
            return losses(rows._replace(inputs=design), penalties) + unusual(penalties)

        best = jnp.argmin(jax.lax.map(of_way, ways))
        way, which = jnp.divmod(best, penalties.shape[0])
        return penalties[which], ways[way]

    is_due = has_grown(old["num_labelled"], count)
    choice = penalties[0], ways[0]
    if not options.is_decided:
        few, _ = some_rows(rows, rows.is_used, _MOST_CHOOSING)
        old_choice = old["penalty"], old["by_column"]
        choice = once_if(is_due, choose, old_choice, ways, penalties, moments, few)
    return {
        "penalty": choice[0],
        "by_column": choice[1],
        "num_labelled": jnp.where(is_due, count, old["num_labelled"]),
    }


def in_basis(rows: Array) -> Basis:
    """Returns `[L, D]` rows, and ones, in at most L columns: where `L < D`, in those
    that orthogonalise them one after the other."""
    columns = rows
    if rows.shape[0] < rows.shape[1]:
        gram = linalg.product(rows, rows.T)
        own = jnp.diagonal(gram)
        # Rows may be there twice, or not at all.
        spare = jnp.where(own > 0, _SPARE * jnp.finfo(own.dtype).eps * own, 1)
        columns = linalg.cholesky(gram + jnp.diag(spare))
    design = jnp.concatenate([columns, jnp.ones_like(rows[:, :1])], axis=1)
    return Basis(design, None if columns is rows else rows)


def scales(moments: Moments, choice: Any) -> dict[str, Array]:
    """Returns the scaling in which weights have a standard normal prior."""
    factors = column_factors(moments, choice["by_column"])
    return {"shift": moments.mean, "factor": factors / jnp.sqrt(choice["penalty"])}


def moved_to(variables: Variables, scale: Any) -> dict[str, Array]:
    """Returns parameters that say in another scaling what they said: a start."""
    old, params = variables["scale"]["factor"], variables["params"]
    new = scale["factor"]
    ratio = jnp.where(new > 0, old / jnp.where(new > 0, new, 1), 0)
    return {**params, "kernel": params["kernel"] * ratio[:, None]}
