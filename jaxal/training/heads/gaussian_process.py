"""Exact Gaussian processes for regression, their lengths by marginal likelihood."""

from functools import partial
from typing import get_args

import jax.numpy as jnp
from jax import Array

from jaxal import linalg
from jaxal.posteriors.functions import gaussian_functions
from jaxal.training.heads.kernels import (
    Kernel,
    covariance,
    fit_hyperparameters,
    noise_of,
    noisy_covariance,
    usual,
)
from jaxal.training.heads.linear import Head, solved
from jaxal.training.heads.rows import (
    centred_rows,
    column_factors,
    flat,
    has_grown,
    once_if,
    pool_moments,
    scaled,
    some_rows,
)
from jaxal.training.regression import gaussian_likelihood
from jaxal.training.rows import labelled_numbers
from jaxal.training.targets import Units, target_units
from jaxal.training.tasks import FitInfo
from jaxal.types import Model, Output, Pool, Posterior, Variables

_MOST_CHOOSING = 512  # rows whose likelihood chooses lengths
_NUM_STEPS = 150
_LEAST_VARIANCE = 1e-6  # of the function's prior


def gaussian_process_head(
    kernel: Kernel = "matern", *, capacity: int = 1000, num_samples: int = 20
) -> Head:
    r"""Returns an exact Gaussian process with a length a column.

    $f \sim \mathcal{GP}(\bar y, k)$, $y = f + \epsilon$, columns and targets
    scaled to a deviation of one inside; predictions are in the units of the targets.
    Lengths, amplitude and noise maximise the marginal likelihood of at most 512
    labelled rows times priors, and are fitted anew, from those of before, when labels
    have grown by half; every labelled row conditions the function.

    Cost: `L^3 / 3` operations a round and `L^2` numbers for a capacity of L, up to some
    5,000; draws of the posterior are joint, `N^3` for a view of N rows.

    Args:
      kernel: "matern" (5/2) or "rbf".
      capacity: the most labelled rows there will ever be; a loop refuses to buy more.
      num_samples: functions that `posterior` draws.

    Returns:
      A `Head` whose outputs are mean and log-variance, for a `regression_pool`.

    Raises:
      ValueError: a setting is out of its range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import gaussian_process_head, regression_pool
      >>> inputs = jnp.linspace(0.0, 6.0, 40)[:, None]
      >>> pool = regression_pool(inputs, 100 + jnp.sin(inputs[:, 0]))
      >>> head = gaussian_process_head(capacity=40)
      >>> state = head.learner.init(jax.random.key(0), pool.inputs)
      >>> state, _ = jax.jit(head.learner.fit)(jax.random.key(1), state, pool)
      >>> float(head.learner.evaluate(state, inputs, pool.labels).rmse) < 0.05
      True

    Reference:
      Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, 2.2 and
      5.4. https://gaussianprocess.org/gpml
    """
    if kernel not in get_args(Kernel):
        raise ValueError(f"kernel is {kernel!r}, expected one of {get_args(Kernel)}.")
    if capacity < 1:
        raise ValueError(f"capacity is {capacity}, expected at least 1 labelled row.")
    model = _model(kernel, capacity)

    fit = partial(_fit, kernel)
    learner = solved(model, fit, gaussian_likelihood, capacity)
    return Head(model, learner, _posterior(kernel, model, num_samples))


def _model(kernel: Kernel, capacity: int) -> Model:
    def init(key: Array, inputs: Array) -> Variables:
        del key
        row = flat(inputs[:1])[0]
        dtype, width = row.dtype, row.shape[0]
        known = {
            "rows": jnp.zeros((capacity, width), dtype),
            "is_used": jnp.zeros(capacity, bool),
            "factor": jnp.eye(capacity, dtype=dtype),
            "half": jnp.zeros(capacity, dtype),
        }
        return {
            "params": usual(width, dtype),
            "scale": {"shift": jnp.zeros_like(row), "factor": jnp.ones_like(row)},
            "units": Units(jnp.zeros([], dtype), jnp.ones([], dtype)),
            "known": known,
            "num_labelled": jnp.zeros([], jnp.int32),
        }

    def apply(
        variables: Variables,
        inputs: Array,
        *,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Output, Variables]:
        del key, train
        rows = scaled(variables["scale"], inputs)
        mean, seen = _conditioned(kernel, variables, rows)
        hyper = variables["params"]
        prior = jnp.exp(hyper.log_amplitude)
        left = jnp.maximum(prior - (seen**2).sum(0), _LEAST_VARIANCE * prior)
        outputs = variables["units"].outwards(mean, left + noise_of(hyper))
        # Features are what the kernel sees: a distance of one is a length.
        return Output(outputs, rows * jnp.exp(-hyper.log_lengths)[None]), variables

    return Model(init, apply)


def _conditioned(
    kernel: Kernel, variables: Variables, rows: Array
) -> tuple[Array, Array]:
    """Means `[B]`, and `[L, B]` whose squares are the variance that labels took."""
    known = variables["known"]
    between = covariance(kernel, variables["params"], known["rows"], rows)
    between = jnp.where(known["is_used"][:, None], between, 0)
    seen = linalg.solve_lower(known["factor"], between)
    return jnp.matmul(known["half"][None], seen, precision="highest")[0], seen


def _fit(kernel: Kernel, variables: Variables, pool: Pool) -> tuple[Variables, FitInfo]:
    moments = pool_moments(pool)
    capacity = variables["known"]["is_used"].shape[0]
    rows, is_used = labelled_numbers(pool, capacity)
    short = capacity - rows.shape[0]  # of a pool that has fewer rows
    rows, is_used = jnp.pad(rows, (0, short)), jnp.pad(is_used, (0, short))
    factor = column_factors(moments, True) * jnp.sqrt(1.0 * moments.mean.shape[0])
    inputs = centred_rows(pool, rows, is_used, moments.mean) * factor[None]
    targets = pool.labels[rows].astype(inputs.dtype)
    units = target_units(targets, is_used)
    targets = jnp.where(is_used, units.inwards(targets), 0)
    count, before = is_used.sum(dtype=jnp.int32), variables["num_labelled"]
    is_due = has_grown(before, count)
    few, are_few = some_rows((inputs, targets), is_used, _MOST_CHOOSING)
    hyper = once_if(
        is_due,
        partial(fit_hyperparameters, kernel, _NUM_STEPS),
        variables["params"],
        variables["params"],
        *few,
        are_few,
    )
    root = linalg.cholesky(noisy_covariance(kernel, hyper, inputs, is_used))
    half = linalg.solve_lower(root, targets[:, None])[:, 0]
    updated = {
        "params": hyper,
        "scale": {"shift": moments.mean, "factor": factor},
        "units": units,
        "known": {"rows": inputs, "is_used": is_used, "factor": root, "half": half},
        "num_labelled": jnp.where(is_due, count, before),
    }
    evidence = (half**2).sum() / 2 + jnp.log(jnp.diagonal(root)).sum()
    each = evidence / jnp.maximum(count, 1).astype(evidence.dtype)
    loss = each + jnp.log(2 * jnp.pi) / 2 + jnp.log(units.deviation)
    return updated, FitInfo(loss, jnp.int32(_NUM_STEPS) * is_due, count)


def _posterior(kernel: Kernel, model: Model, num_samples: int) -> Posterior:
    def moments(variables: Variables, inputs: Array) -> tuple[Array, Array]:
        rows, units = scaled(variables["scale"], inputs), variables["units"]
        mean, seen = _conditioned(kernel, variables, rows)
        prior = covariance(kernel, variables["params"], rows, rows)
        left = prior - jnp.matmul(seen.T, seen, precision="highest")
        return units.mean + units.deviation * mean, units.deviation**2 * left

    joint = gaussian_functions(moments, num_samples)

    def network(variables: Variables, inputs: Array) -> Output:
        return model.apply(variables, inputs)[0]

    def sample(key: Array, variables: Variables, inputs: Array) -> Output:
        draws = joint.sample(key, variables, inputs).logits[..., 0]
        units = variables["units"]
        inner = (draws - units.mean) / units.deviation
        return Output(units.outwards(inner, noise_of(variables["params"])))

    def predict(key: Array, variables: Variables, inputs: Array) -> Output:
        del key  # the mixture of all functions has a closed form
        return network(variables, inputs)

    return joint._replace(sample=sample, predict=predict, network=network)
