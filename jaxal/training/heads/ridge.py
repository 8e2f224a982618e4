"""Ridge regression that is solved, its penalty chosen by exact leave-one-out."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg
from jaxal.modes import in_any_mode
from jaxal.posteriors.networks import by_samples
from jaxal.training.heads.linear import (
    Candidates,
    Head,
    LabelledDesign,
    Scaling,
    candidates,
    chosen,
    in_basis,
    linear_model,
    scales,
    solved,
)
from jaxal.training.heads.rows import centred_rows, pool_moments
from jaxal.training.regression import combine_gaussians, gaussian_likelihood
from jaxal.training.rows import labelled_numbers
from jaxal.training.targets import target_units
from jaxal.training.tasks import FitInfo
from jaxal.types import Model, Output, Pool, Posterior, Variables

_PENALTIES = tuple(10.0 ** (-4 + 5 / 8 * i) for i in range(9))
_OF_BIAS = 1e-3  # targets are centred: it has little to do
_LEAST_SHARE = 1e-5  # of a row's leverage that is not its own
_LEAST_NOISE = 1e-6  # of the targets' variance


class RidgeState(NamedTuple):
    """A fitted model, and the Gaussian around its weights."""

    variables: Variables
    factor: Array  # [D + 1, D + 1] lower, of the precision in units of the noise


def ridge_head(
    *,
    scaling: Scaling = "choose",
    penalty: float | None = None,
    capacity: int | None = None,
    num_samples: int = 20,
) -> Head:
    r"""Returns ridge regression, solved in every round.

    $\min_w \sum_n (w^\top z_n + b - y_n)^2 + \lambda |w|^2$ on the labelled rows,
    inputs scaled as in `logistic_head` and targets to mean 0 and variance 1;
    predictions are in the units of the targets. Penalty and scaling are those of the
    least exact leave-one-out error, $\frac n2 \log \sum_n (r_n / (1 - h_n))^2$, plus
    what the penalty is off the usual; that error is the noise of predictions too.

    Args:
      scaling: "one" number for all columns, "columns" each by its own, or "choose".
      penalty: $\lambda$, by default chosen between 1e-4 and 10.
      capacity: the most labelled rows there will ever be, by default the pool's.
      num_samples: draws of `posterior`, weights from their exact posterior.

    Returns:
      A `Head` whose outputs are mean and log-variance, for a `regression_pool`.

    Raises:
      ValueError: a setting is out of its range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import regression_pool, ridge_head
      >>> inputs = jnp.arange(8.0)[:, None]
      >>> pool = regression_pool(inputs, 1e6 + 1000 * inputs[:, 0])
      >>> head = ridge_head()
      >>> state = head.learner.init(jax.random.key(0), pool.inputs)
      >>> state, _ = head.learner.fit(jax.random.key(1), state, pool)
      >>> float(head.learner.evaluate(state, inputs, pool.labels).rmse) < 1.0
      True

    Reference:
      Golub, Heath and Wahba, "Generalized Cross-Validation as a Method for Choosing a
      Good Ridge Parameter", Technometrics 1979.
      https://doi.org/10.1080/00401706.1979.10489751
    """
    options = candidates(scaling, penalty, _PENALTIES)
    model = _with_noise(linear_model(1))

    fit = partial(_fit, options, capacity)
    learner = solved(model, fit, gaussian_likelihood, capacity)
    return Head(model, learner, _posterior(model, capacity, num_samples))


def _with_noise(linear: Model) -> Model:
    """A linear model that says how far targets are off its mean."""

    def init(key: Array, inputs: Array) -> Variables:
        variables = linear.init(key, inputs)
        return {**variables, "noise": jnp.ones([], variables["params"]["bias"].dtype)}

    def apply(
        variables: Variables, inputs: Array, **how: Any
    ) -> tuple[Output, Variables]:
        (mean, features), _ = linear.apply(variables, inputs, **how)
        spread = jnp.full_like(mean, 1) * jnp.log(variables["noise"])
        return Output(jnp.concatenate([mean, spread], -1), features), variables

    return in_any_mode(Model(init, apply))


def _fit(
    options: Candidates, capacity: int | None, variables: Variables, pool: Pool
) -> tuple[Variables, FitInfo]:
    moments = pool_moments(pool)
    numbers, is_used = labelled_numbers(pool, capacity)
    labels = pool.labels[numbers].astype(moments.mean.dtype)
    units = target_units(labels, is_used)
    targets = jnp.where(is_used, units.inwards(labels), 0)
    inputs = centred_rows(pool, numbers, is_used, moments.mean)
    rows = LabelledDesign(inputs, is_used, targets, is_used.astype(inputs.dtype))

    def losses(rows: LabelledDesign, penalties: Array) -> Array:
        errors = jax.lax.map(
            lambda p: (
                _solve(rows.inputs, rows.targets, rows.is_used, p)[1] ** 2
            ).sum(),
            penalties,
        )
        size = rows.is_used.sum().astype(errors.dtype)
        return size / 2 * jnp.log(errors / jnp.maximum(size, 1) + _LEAST_NOISE)

    choice = chosen(options, variables["choice"], moments, rows, losses)
    scale = scales(moments, choice)
    basis = in_basis(inputs * scale["factor"][None])
    ones = jnp.ones(1, targets.dtype)
    coefficients, left_out = _solve(basis.design, targets, is_used, ones[0])
    params = basis.outwards(coefficients)
    params = {
        "kernel": params["kernel"] * units.deviation,
        "bias": params["bias"] * units.deviation + units.mean,
    }
    count = is_used.sum(dtype=jnp.int32)
    error = (left_out**2).sum() / jnp.maximum(count, 1).astype(targets.dtype)
    noise = jnp.where(count > 0, jnp.maximum(error, _LEAST_NOISE), 1)
    noise = noise * units.deviation**2
    updated = {"params": params, "scale": scale, "choice": choice, "noise": noise}
    return updated, FitInfo(noise, jnp.ones([], jnp.int32), count)


def _solve(
    design: Array, targets: Array, is_used: Array, penalty: Array
) -> tuple[Array, Array]:
    """Coefficients `[E, 1]`, and errors `[L]` of rows by fits to the others."""
    design = jnp.where(is_used[:, None], design, 0)  # the ones too
    of_weights = jnp.broadcast_to(penalty, (design.shape[1] - 1,))
    diagonal = jnp.append(of_weights, jnp.asarray(_OF_BIAS, design.dtype))
    gram = linalg.product(design.T, design)
    factor = linalg.cholesky(gram + jnp.diag(diagonal))
    half = linalg.solve_lower(factor, design.T)  # [E, L]
    right = linalg.product(half, targets[:, None])
    coefficients = linalg.solve_lower_transposed(factor, right)
    fitted = linalg.product(design, coefficients)[:, 0]
    own = jnp.maximum(1 - (half**2).sum(0), _LEAST_SHARE)
    return coefficients, jnp.where(is_used, (targets - fitted) / own, 0)


def _posterior(model: Model, capacity: int | None, num_samples: int) -> Posterior:
    def extended(features: Array) -> Array:
        return jnp.concatenate([features, jnp.ones_like(features[:, :1])], axis=1)

    def network(state: RidgeState, inputs: Array) -> Output:
        return model.apply(state.variables, inputs)[0]

    def fit(key: Array, variables: Variables, pool: Pool) -> RidgeState:
        del key
        rows, is_used = labelled_numbers(pool, capacity)
        features = model.apply(variables, pool.inputs[rows])[0].features
        design = jnp.where(is_used[:, None], extended(features), 0)  # type: ignore[arg-type]
        gram = linalg.product(design.T, design)
        diagonal = jnp.ones_like(gram[0]).at[-1].set(_OF_BIAS)
        return RidgeState(variables, linalg.cholesky(gram + jnp.diag(diagonal)))

    def sample(key: Array, state: RidgeState, inputs: Array) -> Output:
        output = network(state, inputs)
        noise = jnp.sqrt(state.variables["noise"])
        shape = (state.factor.shape[0], num_samples)
        draws = jax.random.normal(key, shape, state.factor.dtype)
        moves = noise * linalg.solve_lower_transposed(state.factor, draws)  # [E, S]
        moved = linalg.product(extended(output.features), moves)  # type: ignore[arg-type]
        means = output.logits[None, :, 0] + moved.T
        spread = jnp.broadcast_to(output.logits[None, :, 1], means.shape)
        return Output(jnp.stack([means, spread], axis=-1), output.features)

    return by_samples(num_samples, sample, network, combine=combine_gaussians, fit=fit)
