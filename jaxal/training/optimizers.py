"""Optimisers and schedules in terms of progress, so a fit can have any length."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_FIRST_STEPS = 32
"""Steps that are tried: a schedule may begin at zero, and several may make one."""

Schedule = Callable[[Array], Array]  # progress in [0, 1] -> learning rate


class Optimizer(NamedTuple):
    """A direction to walk in and how far, the two halves of an optimiser.

    The schedule is a function of progress rather than of a step count: the number
    of steps is traced, and differs from round to round.
    """

    direction: Any  # optax.GradientTransformation whose updates are to be subtracted
    schedule: Schedule


class _Downhill(NamedTuple):
    """What optax calls an optimiser, with updates to be subtracted."""

    optimizer: Any

    def init(self, params: Any) -> Any:
        return self.optimizer.init(params)

    def update(
        self, grads: Any, state: Any, params: Any = None, **what: Any
    ) -> tuple[Any, Any]:
        try:
            updates, state = self.optimizer.update(grads, state, params, **what)
        except (AttributeError, TypeError, ValueError) as error:
            raise TypeError(
                f"This optimiser of optax does not walk as others do: {error}. It is "
                "given one gradient, the parameters, and the loss as value, grad and "
                "value_fn; lookahead, SAM and DP-SGD want more. Pass another, such as "
                "optax.adam(1e-3), or write a Learner of your own."
            ) from error
        return jax.tree.map(jnp.negative, updates), state


def walk(
    rule: Optimizer, grads: Any, state: Any, params: Any, **what: Any
) -> tuple[Any, Any]:
    """Returns updates to be subtracted, times a rate, and the optimiser's next state.

    Args:
      rule: the optimiser.
      grads: of the loss.
      state: of the optimiser.
      params: where it is.
      what: an optimiser of optax may ask of the loss, as a line search does: its
        `value` and `grad`, and `value_fn`, of parameters.
    """
    what = what if isinstance(rule.direction, _Downhill) else {}
    return rule.direction.update(grads, state, params, **what)


def as_optimizer(optimizer: Any) -> Optimizer:
    """Returns jaxal's `Optimizer`, and one of optax as such.

    An optimiser of optax has its own learning rate, or a schedule over steps, and walks
    as optax would: `params + updates`.

    Args:
      optimizer: an `Optimizer`, or anything with optax's `init` and `update`.

    Returns:
      An `Optimizer`.

    Raises:
      TypeError: it is neither.
      ValueError: it would climb: an `Optimizer` whose direction is a whole optimiser of
        optax, or a direction of optax without a learning rate.

    Example:
      >>> import optax
      >>> from jaxal.training.optimizers import as_optimizer
      >>> optimizer = as_optimizer(optax.chain(optax.clip(1.0), optax.adam(1e-3)))

    Reference:
      DeepMind, "Optax", https://optax.readthedocs.io
    """
    if isinstance(optimizer, Optimizer):
        _check_climbs(optimizer.direction)
        return optimizer
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(
            f"optimizer is {type(optimizer).__name__}, expected jaxal's, such as "
            "adamw(1e-3), or one of optax, such as optax.adam(1e-3)."
        )
    if _slope(optimizer) > 0:
        raise ValueError(
            "This optimiser of optax walks uphill, as a direction without a learning "
            "rate does (and SAM, which wants two gradients a step). Pass a whole one, "
            "such as optax.adam(1e-3), or the direction with a schedule, "
            "Optimizer(optax.scale_by_adam(), cosine(1e-3))."
        )
    import optax

    if isinstance(optimizer, optax.GradientTransformation):
        optimizer = optax.with_extra_args_support(optimizer)
    return Optimizer(_Downhill(optimizer), constant(1.0))


def _check_climbs(direction: Any) -> None:
    """A direction is subtracted: along a gradient it must not point down."""
    if not isinstance(direction, _Downhill) and _slope(direction) < 0:
        raise ValueError(
            "The direction of this Optimizer points downhill, as an optimiser of optax "
            "does, and jaxal subtracts it: the loss would climb. Pass the optimiser as "
            "it is, supervised(model, optax.adam(1e-3)), or a direction without a "
            "learning rate, Optimizer(optax.scale_by_adam(), cosine(1e-3))."
        )


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
    clip: float | None = None,
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
      clip: longer gradients are cut to this norm, None for never.

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
        *_clipping(clip),
        optax.add_decayed_weights(weight_decay, mask=is_matrix),
        optax.trace(momentum, nesterov=nesterov),
    )
    return Optimizer(direction, as_schedule(schedule))


def adamw(
    schedule: Schedule | float = 1e-3,
    *,
    weight_decay: float = 1e-2,
    clip: float | None = None,
) -> Optimizer:
    r"""Returns AdamW, with weight decay off norms and biases.

    Args:
      schedule: a schedule over progress; a number means `cosine(number)`.
      weight_decay: decoupled decay, multiplied by the learning rate.
      clip: longer gradients are cut to this norm, None for never.

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
        *_clipping(clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(weight_decay, mask=is_matrix),
    )
    return Optimizer(direction, as_schedule(schedule))


def _slope(direction: Any) -> float:
    """Where something of optax goes along a gradient of ones; 0 where unknown."""
    gradient = {"w": jnp.ones([2, 2])}
    params = {"w": jnp.zeros([2, 2])}
    total, steps = 0.0, 0
    with jax.ensure_compile_time_eval():
        try:
            state = direction.init(params)
            while total == 0 and steps < _FIRST_STEPS:
                updates, state = direction.update(gradient, state, params)
                total, steps = float(updates["w"].sum()), steps + 1
        except (AttributeError, KeyError, NotImplementedError, TypeError, ValueError):
            return 0.0  # made for other parameters, or for an older JAX a line search
    return total


def _clipping(norm: float | None) -> list[Any]:
    import optax

    return [] if norm is None else [optax.clip_by_global_norm(norm)]


def as_schedule(schedule: Any) -> Schedule:
    """Returns a schedule as it is, and a number as the peak of a cosine."""
    if callable(schedule):
        return schedule
    is_traced = isinstance(schedule, jax.Array)  # a search tries several
    return cosine(schedule if is_traced else float(schedule))


def is_matrix(params: Any) -> Any:
    """Returns True at the parameters that weight decay applies to."""
    return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(
            f"{name} is {value}, expected a share of the fit in [0, 1), not steps."
        )
