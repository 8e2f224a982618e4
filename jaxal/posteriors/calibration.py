"""Temperature: how sure a posterior is, corrected by labels nobody was trained on."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.pools.inputs import is_traced, num_rows, take_rows
from jaxal.posteriors.laplace import full_precision
from jaxal.posteriors.networks import by_samples, mean_probabilities
from jaxal.types import Learner, Output, Pool, Posterior

_COLDEST, _HOTTEST, _GRID, _STEPS = 0.05, 20.0, 25, 30
_MOST_ROWS = 2048  # held out rows of the pool that a temperature is fitted on


class TemperedState(NamedTuple):
    """A posterior's state, and the temperature its logits are divided by."""

    base: Any
    temperature: Array  # []


def temperature_scaled(
    posterior: Posterior, holdout: tuple[Array, Array] | float
) -> Posterior:
    r"""Returns a posterior whose logits are divided by a temperature.

    $T = \arg\min_T -\sum_m \log \frac1S \sum_s p(y_m \mid x_m, \omega_s, T)$ over
    labels that the network was not trained on: of the predictive distribution, so that
    MC dropout or an ensemble is not made unsure twice. One number, found each round;
    the largest class of a network stays the largest.

    Args:
      posterior: for classification, any.
      holdout: `([M, ...], [M])` inputs and labels kept apart; or a share of the pool's
        rows, whose labels train nobody: then wrap the learner, too, in
        `hold_out(learner, share)`, or the temperature is fitted on what was learnt by
        heart.

    Returns:
      A `Posterior`; without a label held out its temperature is 1.

    Raises:
      ValueError: the share is not in (0, 1), or labels have another length; or, when
        it is fitted, are outside `0 .. C - 1`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import deterministic, make_pool, temperature_scaled
      >>> from jaxal import Model, Output
      >>> sure = Model(lambda key, x: {}, lambda v, x, **_: (Output(9 * x), v))
      >>> inputs = jnp.eye(2)[jnp.array([0, 0, 0, 1])]
      >>> labels = jnp.array([0, 0, 1, 1])  # right three times in four
      >>> posterior = temperature_scaled(deterministic(sure), (inputs, labels))
      >>> state = posterior.fit(jax.random.key(0), {}, make_pool(inputs))
      >>> found = posterior.predict(jax.random.key(1), state, inputs).logits
      >>> jnp.exp(found.max(-1)).round(2).tolist()
      [0.75, 0.75, 0.75, 0.75]

    Reference:
      Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
      https://arxiv.org/abs/1706.04599
    """
    _check_holdout(holdout)

    def fit(key: Array, variables: Any, pool: Pool) -> TemperedState:
        key_base, key_draws = jax.random.split(key)
        base = posterior.fit(key_base, variables, pool)
        inputs, labels, weights = _held_out(holdout, pool)
        logits = posterior.sample(key_draws, base, inputs).logits
        if isinstance(holdout, tuple) and not is_traced(labels := holdout[1]):
            cure = "Leave out rows whose label nobody knows."
            checks.check_classes("holdout", labels, logits.shape[-1], cure)
        return TemperedState(base, fit_temperature(logits, labels, weights))

    def sample(key: Array, state: TemperedState, inputs: Array) -> Output:
        return _tempered(posterior.sample(key, state.base, inputs), state)

    def network(state: TemperedState, inputs: Array) -> Output:
        return _tempered(posterior.network(state.base, inputs), state)

    return by_samples(
        posterior.num_samples,
        sample,
        network,
        fit=fit,
        members=posterior.members,
        is_joint=posterior.is_joint,
    )


def fit_temperature(logits: Array, labels: Array, weights: Array) -> Array:
    """Returns the temperature under which samples predict labels best.

    Args:
      logits: `[S, M, C]`.
      labels: `[M]` integers.
      weights: `[M]`, 0 for rows that do not count; where all are, T is 1.

    Returns:
      A scalar in [0.05, 20]: best of a grid, then a golden section search.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.posteriors.calibration import fit_temperature
      >>> logits = jnp.array([[[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]]])
      >>> found = fit_temperature(logits, jnp.array([0, 0, 1]), jnp.ones(3))
      >>> print(f"{2 / found:.2f} {jnp.log(2):.2f}")  # the minimum is flat
      0.69 0.69
    """

    logits = full_precision(logits)
    weights = weights.astype(logits.dtype)

    def loss(log_t: Array) -> Array:
        logs = mean_probabilities(logits / jnp.exp(log_t))
        said = jnp.take_along_axis(logs, labels[:, None], axis=-1)[:, 0]
        return -jnp.where(weights > 0, weights * said, 0).sum()

    ends = math.log(_COLDEST), math.log(_HOTTEST)
    grid = jnp.linspace(*ends, _GRID, dtype=logits.dtype)
    best = jnp.argmin(jax.lax.map(loss, grid))
    low, high = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, _GRID - 1)]
    golden = (5**0.5 - 1) / 2

    def narrow(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        left, right = high - golden * (high - low), low + golden * (high - low)
        is_left = loss(left) < loss(right)
        return jnp.where(is_left, low, left), jnp.where(is_left, right, high)

    low, high = jax.lax.fori_loop(0, _STEPS, narrow, (low, high))
    return jnp.where(weights.sum() > 0, jnp.exp((low + high) / 2), 1)


def hold_out(learner: Learner, share: float) -> Learner:
    """Returns a learner that leaves a share of the labels to `temperature_scaled`.

    Which rows are held out depends on their numbers alone: a row that is held out in
    one round is in all, and the same rows are for `temperature_scaled(_, share)`.

    Args:
      learner: any.
      share: in (0, 1), of the pool's rows.

    Returns:
      A `Learner` that never sees those rows' labels.

    Raises:
      ValueError: the share is not in (0, 1).

    Example:
      >>> from jaxal import hold_out, supervised
      >>> from jaxal.models import logistic_regression
      >>> learner = hold_out(supervised(logistic_regression(2)), 0.2)
    """
    _check_holdout(share)

    def rest(pool: Pool) -> Pool:
        is_held = _are_held(pool.labels.shape[0], share)
        return pool._replace(is_labelled=pool.is_labelled & ~is_held)

    start, advance, finish = learner.start, learner.advance, learner.finish
    fitting = learner._replace(
        fit=lambda key, state, pool: learner.fit(key, state, rest(pool))
    )
    if start is None or advance is None or finish is None:
        return fitting
    return fitting._replace(
        start=lambda key, state, pool: start(key, state, rest(pool)),
        advance=lambda state, pool, steps: advance(state, rest(pool), steps),
        finish=lambda state, pool: finish(state, rest(pool)),
    )


def _held_out(
    holdout: tuple[Array, Array] | float, pool: Pool
) -> tuple[Array, Array, Array]:
    """Inputs, labels and weights of what the temperature is fitted on."""
    if isinstance(holdout, tuple):
        inputs, labels = jax.tree.map(jnp.asarray, holdout)
        return inputs, labels, jnp.ones(labels.shape[0])
    size = pool.labels.shape[0]
    is_held = _are_held(size, holdout) & pool.is_labelled
    rows = jnp.argsort(~is_held, stable=True)[: min(size, _MOST_ROWS)]
    labels = jnp.maximum(pool.labels[rows], 0)
    return take_rows(pool.inputs, rows), labels, is_held[rows].astype(jnp.float32)


def _are_held(size: int, share: float) -> Array:
    """Rows held out: by a row's number, so that padding to a mesh changes nothing."""

    def draw(row: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.key(0), row))

    return jax.vmap(draw)(jnp.arange(size, dtype=jnp.uint32)) < share


def _tempered(output: Output, state: TemperedState) -> Output:
    temperature = state.temperature.astype(output.logits.dtype)
    return output._replace(logits=output.logits / temperature)


def _check_holdout(holdout: tuple[Array, Array] | float) -> None:
    if isinstance(holdout, tuple):
        inputs, labels = holdout
        if labels.ndim != 1 or labels.shape[0] != num_rows(inputs):
            raise ValueError(
                f"holdout has labels of shape {list(labels.shape)}, expected "
                f"[{num_rows(inputs)}], one for each row of inputs."
            )
    elif not 0 < holdout < 1:
        raise ValueError(
            f"The share held out is {holdout}, expected one in (0, 1), or a pair of "
            "inputs and labels."
        )
