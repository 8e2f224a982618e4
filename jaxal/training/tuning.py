"""Settings of training that are searched for anew while labels come in."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.checks import nearest
from jaxal.metrics import LOWER_IS_BETTER, by_name
from jaxal.training.heads.rows import has_grown
from jaxal.types import Inputs, Learner, Pool, Variables

TUNING = "tuning"  # what is kept of a search, beside a model's own variables


def tuned(
    make: Callable[..., Learner],
    grid: Mapping[str, Sequence[float]],
    held_out: tuple[Inputs, Array],
    *,
    by: str = "nll",
    at: Sequence[int] | None = None,
) -> Learner:
    """Returns a learner that searches a grid of settings by rows held out.

    Where a search is due each combination is trained once, one after the other in one
    compiled program, and the best of them trains the model, then and until the next
    search. Settings that were good with 100 labels are not those for 1,000, and studies
    that search once compare strategies on networks that suit one of them.

    Args:
      make: from settings by name, traced numbers, to a learner whose state is a model's
        variables, such as `supervised(model, sgd(rate, weight_decay=decay))`.
      grid: values of each setting.
      held_out: inputs, a pytree of `[V, ...]`, and labels `[V]`, that nothing is
        trained on and nothing else is measured on.
      by: a metric of `Learner.evaluate`; of `jaxal.metrics.LOWER_IS_BETTER` the lowest
        is the best, of others the highest.
      at: numbers of labels at which to search again, as soon as there are as many; by
        default when they have grown by half. The first fit always searches.

    Returns:
      A `Learner`. Its `FitInfo` has what was chosen in `tuned`, by name.

    Raises:
      ValueError: the grid is empty, or there is no such metric.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import make_pool, supervised
      >>> from jaxal.models import mlp
      >>> from jaxal.training.optimizers import adamw
      >>> from jaxal.training.tuning import tuned
      >>> inputs = jnp.array([[-1.0], [-2.0], [1.0], [2.0]])
      >>> labels = jnp.array([0, 0, 1, 1])
      >>> def make(rate):
      ...   return supervised(mlp(2, (4,)), adamw(rate), epochs=20)
      >>> learner = tuned(make, {"rate": [1e-9, 0.1]}, (inputs, labels))
      >>> state = learner.init(jax.random.key(0), inputs)
      >>> fit = jax.jit(learner.fit)
      >>> _, info = fit(jax.random.key(1), state, make_pool(inputs, labels))
      >>> round(float(info.tuned["rate"]), 4)
      0.1

    Reference:
      Munjal, Hayat, Hayat, Sourati and Khan, "Towards Robust and Reproducible Active
      Learning Using Neural Networks", CVPR 2022. https://arxiv.org/abs/2002.09564
    """
    combinations = list(itertools.product(*grid.values()))
    if not grid or not combinations:
        raise ValueError(f"grid is {dict(grid)}, expected values of some settings.")
    columns = jnp.asarray(combinations, jnp.float32).T
    values = dict(zip(grid, columns, strict=True))
    first = make(**dict(zip(grid, combinations[0], strict=True)))
    evaluate = first.evaluate
    if evaluate is None:
        raise ValueError("The learner has no evaluate. Return one that measures.")

    def init(key: Array, inputs: Inputs) -> Variables:
        none = jnp.zeros([], jnp.int32)
        return {
            **first.init(key, inputs),
            TUNING: {"choice": none, "num_labelled": none},
        }

    def fit(key: Array, variables: Variables, pool: Pool) -> tuple[Variables, Any]:
        given = {name: tree for name, tree in variables.items() if name != TUNING}
        before = variables[TUNING]
        count = pool.is_labelled.sum(dtype=jnp.int32)

        def trained(settings: Mapping[str, Array]) -> tuple[Variables, Any]:
            return make(**settings).fit(key, given, pool)

        def loss(settings: Mapping[str, Array]) -> Array:
            metrics = evaluate(trained(settings)[0], *held_out)
            value = _metric(metrics, by).astype(jnp.float32)
            return jnp.nan_to_num(value if by in LOWER_IS_BETTER else -value, nan=1e30)

        def search() -> Array:
            return jax.lax.map(loss, values).argmin().astype(jnp.int32)

        is_due = _is_due(at, before["num_labelled"], count)
        choice = jax.lax.cond(is_due, search, lambda: before["choice"])
        chosen = {name: column[choice] for name, column in values.items()}
        state, info = trained(chosen)
        since = jnp.where(is_due, count, before["num_labelled"])
        kept = {"choice": choice, "num_labelled": since}
        return {**state, TUNING: kept}, info._replace(tuned=chosen)

    told = Learner(init, fit, evaluate, capacity=first.capacity, task=first.task)
    return told._replace(keeps=first.keeps)


def _is_due(at: Sequence[int] | None, before: Array, now: Array) -> Array:
    if at is None:
        return has_grown(before, now)
    counts = jnp.asarray(at, jnp.int32).reshape(-1)
    is_crossed = (counts > before) & (counts <= now)
    return is_crossed.any() | (before == 0) | (now < before)


def _metric(metrics: Any, name: str) -> Array:
    named = by_name(metrics)
    if name not in named:
        raise ValueError(f"by is {name!r}, expected a metric.{nearest(name, named)}")
    return jnp.asarray(named[name])
