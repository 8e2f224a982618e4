"""Gaussian processes that see labelled rows: chosen, conditioned, asked."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg
from jaxal.modes import in_any_mode
from jaxal.pools.inputs import take_rows
from jaxal.posteriors.functions import gaussian_functions
from jaxal.training.heads.chosen_process import NUM_STEPS, Labelled, chosen
from jaxal.training.heads.kernels import (
    Kernel,
    conditioned,
    covariance,
    usual,
)
from jaxal.training.heads.rows import (
    centred_rows,
    column_factors,
    flat,
    has_grown,
    moments_of,
    once_if,
    pool_sample,
    scaled,
    some_rows,
)
from jaxal.training.heads.warping import straight, warped
from jaxal.training.rows import labelled_numbers
from jaxal.training.targets import Units
from jaxal.training.tasks import FitInfo
from jaxal.types import Model, Output, Pool, Posterior, Variables

LEAST_VARIANCE = 1e-6  # of the function's prior


class Response(NamedTuple):
    """What labels say of C functions that a process describes."""

    targets: Array  # [C, L] with a mean of 0 and a variance of 1
    noise: Array  # [C, L] variance that is known
    units: Units


class Conditioned(NamedTuple):
    """Labelled rows and what they say of C functions with one kernel."""

    rows: Array  # [L, D]
    is_used: Array  # [L] bool
    factor: Array  # [C, L, L] Cholesky factors of the targets' covariance
    half: Array  # [C, L] targets, solved by the factors


def _unconditioned(
    inputs: Array, capacity: int, num_functions: int, warps: bool
) -> Variables:
    """Returns the variables of a process that has seen nothing.

    Args:
      inputs: `[N, ...]`, of which width and dtype matter.
      capacity: the most labelled rows there will be, `L`.
      num_functions: `C`.
      warps: whether columns may be bent.
    """
    row = flat(take_rows(inputs, slice(1)))[0]
    dtype, width = row.dtype, row.shape[0]
    eye = jnp.eye(capacity, dtype=dtype)
    known = Conditioned(
        jnp.zeros((capacity, width), dtype),
        jnp.zeros(capacity, bool),
        jnp.broadcast_to(eye, (num_functions, capacity, capacity)),
        jnp.zeros((num_functions, capacity), dtype),
    )
    return {
        "params": usual(width, dtype),
        "scale": {"shift": jnp.zeros_like(row), "factor": jnp.ones_like(row)},
        "units": Units(jnp.zeros([], dtype), jnp.ones([], dtype)),
        "known": known,
        "num_labelled": jnp.zeros([], jnp.int32),
        "warp": straight(row[None]) if warps else None,
    }


def _seen(variables: Variables, inputs: Array) -> Array:
    """Inputs `[B, ...]` as rows `[B, D]` that the kernel sees, but for its lengths."""
    return warped(variables["warp"], scaled(variables["scale"], inputs))


def means_and_variances(
    kernel: Kernel, variables: Variables, inputs: Array
) -> tuple[Array, Array]:
    """Returns means `[C, B]` and variances `[C, B]` at each row, in inner units."""
    mean, seen = _conditioned(kernel, variables, _seen(variables, inputs))
    prior = jnp.exp(variables["params"].log_amplitude)
    left = prior - (seen**2).sum(1)
    return mean, jnp.maximum(left, LEAST_VARIANCE * prior)


def _joint_moments(
    kernel: Kernel, variables: Variables, inputs: Array
) -> tuple[Array, Array]:
    """Returns means `[N, C]` and covariances `[C, N, N]`, in the targets' units."""
    rows, units = _seen(variables, inputs), variables["units"]
    mean, seen = _conditioned(kernel, variables, rows)
    prior = covariance(kernel, variables["params"], rows, rows)
    left = prior[None] - linalg.product(seen.swapaxes(1, 2), seen)
    return units.mean + units.deviation * mean.T, units.deviation**2 * left


def process_posterior(kernel: Kernel, model: Model, num_samples: int) -> Posterior:
    """Returns joint draws of a process; what the model says is their closed form."""

    def network(variables: Variables, inputs: Array) -> Output:
        return model.apply(variables, inputs)[0]

    def predict(key: Array, variables: Variables, inputs: Array) -> Output:
        del key
        return network(variables, inputs)

    joint = gaussian_functions(partial(_joint_moments, kernel), num_samples)
    return joint._replace(predict=predict, network=network)


def process_model(
    kernel: Kernel,
    capacity: int,
    num_functions: int,
    outputs: Callable[[Variables, Array], Array],
    warps: bool = False,
) -> Model:
    """Returns the model of C functions with one kernel.

    Args:
      kernel: which, by name.
      capacity: the most labelled rows there will be.
      num_functions: `C`.
      outputs: from variables and inputs `[B, ...]` to what is said of them.
      warps: whether columns may be bent.

    Returns:
      A model whose features are what the kernel sees: a distance of one is a length.

    Raises:
      ValueError: a setting is out of its range.
    """
    if kernel not in get_args(Kernel):
        raise ValueError(f"kernel is {kernel!r}, expected one of {get_args(Kernel)}.")
    if capacity < 1:
        raise ValueError(f"capacity is {capacity}, expected at least 1 labelled row.")

    def init(key: Array, inputs: Array) -> Variables:
        del key
        return _unconditioned(inputs, capacity, num_functions, warps)

    def apply(
        variables: Variables,
        inputs: Array,
        *,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Output, Variables]:
        del key, train
        rows = _seen(variables, inputs)
        features = rows * jnp.exp(-variables["params"].log_lengths)[None]
        return Output(outputs(variables, inputs), features), variables

    return in_any_mode(Model(init, apply))


def _conditioned(
    kernel: Kernel, variables: Variables, rows: Array
) -> tuple[Array, Array]:
    """Means `[C, B]`, and `[C, L, B]` whose squares are variance that labels took."""
    known = variables["known"]
    between = covariance(kernel, variables["params"], known.rows, rows)
    between = jnp.where(known.is_used[:, None], between, 0)
    seen = jax.vmap(linalg.solve_lower, (0, None))(known.factor, between)
    return linalg.product(known.half[:, None], seen)[:, 0], seen


def fit_process(
    kernel: Kernel,
    respond: Callable[[Array, Array], Response],
    most_choosing: int,
    spread: float,
    by_column: bool,
    loss: Callable[[Variables, Response], Array],
    variables: Variables,
    pool: Pool,
) -> tuple[Variables, FitInfo]:
    """Returns the process conditioned on the pool's labels.

    Args:
      kernel: which.
      respond: from labels `[L]` and which are in use to what is learnt.
      most_choosing: labelled rows whose likelihood chooses hyperparameters.
      spread: of the logarithms of lengths, see `fit_hyperparameters`.
      by_column: whether each column is divided by its own deviation, or all by one
        number.
      loss: from the new variables to what is reported of the fit, nats a label.
      variables: of before.
      pool: whose labelled rows are seen, as many as there is room for.
    """
    sample, is_valid = pool_sample(pool)
    moments = moments_of(sample, is_valid)
    capacity = variables["known"].is_used.shape[0]
    rows, is_used = labelled_numbers(pool, capacity)
    short = capacity - rows.shape[0]  # of a pool that has fewer rows
    rows, is_used = jnp.pad(rows, (0, short)), jnp.pad(is_used, (0, short))
    factor = column_factors(moments, by_column) * jnp.sqrt(1.0 * moments.mean.shape[0])
    inputs = centred_rows(pool, rows, is_used, moments.mean) * factor[None]
    scale = {"shift": moments.mean, "factor": factor}
    response = respond(pool.labels[rows], is_used)
    targets, noise, units = response
    count, before = is_used.sum(dtype=jnp.int32), variables["num_labelled"]
    is_due = has_grown(before, count)
    few, are_few = some_rows((inputs, targets.T, noise.T), is_used, most_choosing)
    start = variables["params"], variables["warp"]
    hyper, warp = once_if(
        is_due,
        partial(chosen, kernel, spread),
        start,
        *(start, Labelled(*few, are_few), scaled(scale, sample), is_valid),
    )
    inputs = warped(warp, inputs)
    solved = conditioned(kernel, hyper, inputs, targets, noise, is_used)

    updated = {
        "params": hyper,
        "warp": warp,
        "scale": scale,
        "units": units,
        "known": Conditioned(inputs, is_used, *solved),
        "num_labelled": jnp.where(is_due, count, before),
    }
    return updated, FitInfo(
        loss(updated, response), jnp.int32(NUM_STEPS) * is_due, count
    )
