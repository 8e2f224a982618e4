"""Where a fit's weights start, and which weights it ends with."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.types import Variables

Refit = Callable[[Array, Variables, Variables], Variables]
# (key, variables of the last round, freshly drawn variables) -> where to start


class Averaging(NamedTuple):
    """A running average of the parameters along a fit."""

    init: Callable[[Any], Any]  # params -> state
    update: Callable[[Any, Any, Array], Any]  # (state, params, progress) -> state
    finish: Callable[[Any, Any], Any]  # (state, last params) -> params


def retrain(key: Array, previous: Variables, fresh: Variables) -> Variables:
    """Starts every round from freshly drawn weights.

    Example:
      >>> import jax
      >>> from jaxal.training.weights import retrain
      >>> retrain(jax.random.key(0), {"params": 1.0}, {"params": 2.0})
      {'params': 2.0}
    """
    del key, previous
    return fresh


def warm_start(key: Array, previous: Variables, fresh: Variables) -> Variables:
    """Starts from where the last round ended.

    Example:
      >>> import jax
      >>> from jaxal.training.weights import warm_start
      >>> warm_start(jax.random.key(0), {"params": 1.0}, {"params": 2.0})
      {'params': 1.0}
    """
    del key, fresh
    return previous


def shrink_and_perturb(shrink: float = 0.4, noise: float = 0.1) -> Refit:
    r"""Returns a warm start that keeps the ability to learn from new labels.

    $w \gets \lambda\, w_{\text{previous}} + \gamma\, w_{\text{fresh}}$, the noise being
    freshly initialised weights, so that each layer is perturbed on its own scale.

    Args:
      shrink: $\lambda$ in [0, 1].
      noise: $\gamma$.

    Returns:
      A way of starting, for `supervised(refit=...)`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.training.weights import shrink_and_perturb
      >>> start = shrink_and_perturb(0.5, 0.1)
      >>> previous, fresh = {"params": jnp.ones(1)}, {"params": jnp.full(1, 2.0)}
      >>> round(float(start(jax.random.key(0), previous, fresh)["params"][0]), 3)
      0.7

    Reference:
      Ash and Adams, "On Warm-Starting Neural Network Training", NeurIPS 2020.
      https://arxiv.org/abs/1910.08475
    """

    def refit(key: Array, previous: Variables, fresh: Variables) -> Variables:
        del key
        params = jax.tree.map(
            lambda w, w0: shrink * w + noise * w0, previous["params"], fresh["params"]
        )
        return {**previous, "params": params}

    return refit


def ema(decay: float = 0.99) -> Averaging:
    r"""Returns an exponential moving average of the weights, corrected for its start.

    $\bar w_t = \beta \bar w_{t-1} + (1 - \beta) w_t$, divided by $1 - \beta^t$.

    Args:
      decay: $\beta$ in [0, 1), per step.

    Returns:
      An `Averaging`.

    Raises:
      ValueError: `decay` is outside [0, 1).

    Example:
      >>> from jaxal.training.weights import ema
      >>> averaging = ema(0.95)

    Reference:
      Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging",
      SIAM J. Control Optim. 1992. https://doi.org/10.1137/0330046
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay is {decay}, expected a number in [0, 1).")

    def weight(progress: Array) -> tuple[Array, Array]:
        return jnp.asarray(decay), jnp.asarray(1 - decay)

    return _averaging(weight)


def swa(start: float = 0.75) -> Averaging:
    """Returns the plain average of the weights over the last part of a fit.

    Args:
      start: share of the fit after which weights are averaged, in [0, 1).

    Returns:
      An `Averaging`.

    Raises:
      ValueError: `start` is outside [0, 1).

    Example:
      >>> from jaxal.training.weights import swa
      >>> averaging = swa(0.5)

    Reference:
      Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
      Generalization", UAI 2018. https://arxiv.org/abs/1803.05407
    """
    if not 0 <= start < 1:
        raise ValueError(f"start is {start}, expected a share of the fit in [0, 1).")

    def weight(progress: Array) -> tuple[Array, Array]:
        return jnp.asarray(1.0), jnp.where(progress >= start, 1.0, 0.0)

    return _averaging(weight)


def _averaging(weight: Callable[[Array], tuple[Array, Array]]) -> Averaging:
    """A weighted sum of the weights and the sum of what they were weighted with."""

    def init(params: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, params), jnp.zeros([])

    def update(state: Any, params: Any, progress: Array) -> Any:
        keep, add = weight(progress)
        total, mass = state
        total = jax.tree.map(lambda t, p: keep * t + add * p, total, params)
        return total, keep * mass + add

    def finish(state: Any, params: Any) -> Any:
        total, mass = state
        # A fit of no steps has averaged nothing: its weights are the ones it has.
        return jax.tree.map(
            lambda t, p: jnp.where(mass > 0, t / jnp.maximum(mass, 1e-9), p),
            total,
            params,
        )

    return Averaging(init, update, finish)
