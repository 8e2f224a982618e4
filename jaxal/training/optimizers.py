"""Optimisers and schedules in terms of progress, so a fit can have any length."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Schedule = Callable[[Array], Array]  # progress in [0, 1] -> learning rate


class Optimizer(NamedTuple):
    """A direction to walk in and how far, the two halves of an optimiser.

    The schedule is a function of progress rather than of a step count: the number
    of steps is traced, and differs from round to round.
    """

    direction: Any  # optax.GradientTransformation whose updates are to be subtracted
    schedule: Schedule


def constant(peak: float) -> Schedule:
    """Returns the schedule that is `peak` throughout.

    Example:
      >>> from jaxal.training.optimizers import constant
      >>> constant(0.1)(0.5)
      Array(0.1, dtype=float32, weak_type=True)
    """
    return lambda progress: jnp.asarray(peak) * jnp.ones_like(progress)


def cosine(peak: float, *, warmup: float = 0.05) -> Schedule:
    r"""Returns a linear warm-up followed by half a cosine down to zero.

    $\eta(t) = \eta_{\max} \min(t / w, \tfrac12 (1 + \cos \pi \tfrac{t - w}{1 - w}))$

    Args:
      peak: the largest learning rate.
      warmup: share of the fit spent warming up, `w` in [0, 1).

    Returns:
      A schedule over progress in [0, 1].

    Raises:
      ValueError: `warmup` is outside [0, 1).

    Example:
      >>> from jaxal.training.optimizers import cosine
      >>> round(float(cosine(0.1, warmup=0.0)(0.5)), 4)
      0.05

    Reference:
      Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
      ICLR 2017. https://arxiv.org/abs/1608.03983
    """
    _check_share("warmup", warmup)

    def schedule(progress: Array) -> Array:
        after = jnp.clip((progress - warmup) / (1 - warmup), 0, 1)
        decay = 0.5 * (1 + jnp.cos(jnp.pi * after))
        return peak * jnp.where(progress < warmup, progress / max(warmup, 1e-9), decay)

    return schedule


def one_cycle(peak: float, *, warmup: float = 0.2, start: float = 0.1) -> Schedule:
    r"""Returns a straight line up to the peak and a straight line down to zero.

    Args:
      peak: the largest learning rate.
      warmup: share of the fit spent going up, in (0, 1).
      start: the learning rate at the start, as a share of the peak.

    Returns:
      A schedule over progress in [0, 1].

    Raises:
      ValueError: `warmup` is outside [0, 1).

    Example:
      >>> from jaxal.training.optimizers import one_cycle
      >>> round(float(one_cycle(0.1)(0.6)), 4)
      0.05

    Reference:
      Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using
      Large Learning Rates", 2017. https://arxiv.org/abs/1708.07120
    """
    _check_share("warmup", warmup)

    def schedule(progress: Array) -> Array:
        knots = jnp.array([0.0, warmup, 1.0])
        return peak * jnp.interp(progress, knots, jnp.array([start, 1.0, 0.0]))

    return schedule


def sgd(
    schedule: Schedule | float = 0.1,
    *,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 5e-4,
) -> Optimizer:
    r"""Returns SGD with Nesterov momentum and weight decay off norms and biases.

    $g \gets \nabla L + \lambda w,\quad m \gets \mu m + g,\quad
    w \gets w - \eta (\mu m + g)$, with $\lambda = 0$ on vectors and scalars: biases and
    the scales of normalisation.

    Args:
      schedule: a schedule over progress; a number means `cosine(number)`.
      momentum: $\mu$.
      nesterov: False for heavy-ball momentum.
      weight_decay: $\lambda$.

    Returns:
      An `Optimizer`.

    Example:
      >>> from jaxal.training.optimizers import one_cycle, sgd
      >>> optimizer = sgd(one_cycle(0.2), weight_decay=1e-3)

    Reference:
      Sutskever et al., "On the importance of initialization and momentum in deep
      learning", ICML 2013. https://proceedings.mlr.press/v28/sutskever13.html
    """
    import optax

    direction = optax.chain(
        optax.add_decayed_weights(weight_decay, mask=is_matrix),
        optax.trace(momentum, nesterov=nesterov),
    )
    return Optimizer(direction, as_schedule(schedule))


def adamw(
    schedule: Schedule | float = 1e-3, *, weight_decay: float = 1e-2
) -> Optimizer:
    r"""Returns AdamW, with weight decay off norms and biases.

    Args:
      schedule: a schedule over progress; a number means `cosine(number)`.
      weight_decay: decoupled decay, multiplied by the learning rate.

    Returns:
      An `Optimizer`.

    Example:
      >>> from jaxal.training.optimizers import adamw
      >>> optimizer = adamw(3e-4)

    Reference:
      Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
      https://arxiv.org/abs/1711.05101
    """
    import optax

    direction = optax.chain(
        optax.scale_by_adam(),
        optax.add_decayed_weights(weight_decay, mask=is_matrix),
    )
    return Optimizer(direction, as_schedule(schedule))


def as_schedule(schedule: Schedule | float) -> Schedule:
    """Returns a schedule as it is, and a number as the peak of a cosine."""
    return schedule if callable(schedule) else cosine(float(schedule))


def is_matrix(params: Any) -> Any:
    """Returns True at the parameters that weight decay applies to."""
    return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(
            f"{name} is {value}, expected a share of the fit in [0, 1), not steps."
        )
