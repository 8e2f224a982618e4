"""Looking at sets of rows while a fit is under way, and keeping its best weights."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.checks import nearest
from jaxal.metrics import LOWER_IS_BETTER, by_name
from jaxal.pools.mapping import either
from jaxal.types import Inputs, Variables

Judge = Callable[[Variables, Inputs, Array], Any]  # -> metrics, a tuple or a dict


class Watch(NamedTuple):
    """What is looked at along a fit, and what is made of it; see `watch`."""

    sets: Mapping[str, tuple[Inputs, Array]]
    num_looks: int
    best_by: str | None
    patience: int | None


class Watched(NamedTuple):
    """What has been seen so far."""

    history: dict[str, Array]  # [num_looks] each; NaN for looks that were not taken
    variables: Any  # the best ones, or ()
    best: Array  # [] their value, the lower the better
    best_step: Array  # [] int32 after which they were seen
    num_worse: Array  # [] int32 looks since


def watch(
    sets: Mapping[str, tuple[Inputs, Array]],
    *,
    num_looks: int = 30,
    best_by: str | None = None,
    patience: int | None = None,
) -> Watch:
    """Returns what `supervised(watch=...)` looks at while it trains.

    Looks are spread evenly over the steps of a fit, the last one at its end: with the
    usual 30 epochs and more than a few labels they are the ends of epochs. `FitInfo`
    has the history. A fit with `best_by` ends with the weights that were best at a
    look (early stopping); with `patience` it ends once as many looks in a row were no
    better, as seen from the steps it would have taken.

    Args:
      sets: inputs, a pytree of `[V, ...]`, and labels `[V]`, by name. What is chosen by
        must not be what is reported: keep rows for it that are in neither the pool nor
        the test set.
      num_looks: how often, static.
      best_by: a set and a metric, such as `"validation/nll"`; of those in
        `jaxal.metrics.LOWER_IS_BETTER` the lowest is the best, of others the highest.
      patience: looks to wait for a better one, at least 1.

    Raises:
      ValueError: a number is not positive, there is no such set, or patience without
        anything to be best by.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import make_pool, supervised, watch
      >>> from jaxal.models import mlp
      >>> inputs = jnp.linspace(-1, 1, 20)[:, None]
      >>> labels = (inputs[:, 0] > 0).astype(int)
      >>> held_out = {"validation": (inputs[::2], labels[::2])}
      >>> model = mlp(2, hidden=(8,))
      >>> looked = watch(held_out, num_looks=5, best_by="validation/nll")
      >>> learner = supervised(model, epochs=20, watch=looked)
      >>> pool = make_pool(inputs[1::2], labels[1::2])
      >>> state = learner.init(jax.random.key(0), pool.inputs)
      >>> state, info = learner.fit(jax.random.key(1), state, pool)
      >>> info.history["step"].tolist()
      [4.0, 8.0, 12.0, 16.0, 20.0]
    """
    if num_looks < 1 or (patience is not None and patience < 1):
        raise ValueError(
            f"num_looks is {num_looks} and patience {patience}, expected 1 or more."
        )
    if patience is not None and best_by is None:
        raise ValueError("patience has nothing to wait for. Pass best_by.")
    if best_by is not None and best_by.partition("/")[0] not in sets:
        raise ValueError(
            f"best_by is {best_by!r}, expected a set, a slash and a metric, such as "
            f"'validation/nll'. Sets are: {', '.join(sets)}."
        )
    return Watch(dict(sets), num_looks, best_by, patience)


def unseen(plan: Watch, judge: Judge, variables: Variables) -> Watched:
    """Returns the state of a fit in which nothing has been looked at.

    Raises:
      ValueError: there is no metric of that name.
    """
    names = jax.eval_shape(lambda v: _look(plan, judge, v), variables)
    if plan.best_by is not None and plan.best_by not in names:
        raise ValueError(
            f"best_by is {plan.best_by!r}.{nearest(plan.best_by, names)} "
            f"There are: {', '.join(names)}."
        )
    empty = jnp.full([plan.num_looks], jnp.nan, jnp.float32)
    return Watched(
        dict.fromkeys(("step", "train/loss", *names), empty),
        () if plan.best_by is None else variables,
        jnp.full([], jnp.inf, jnp.float32),
        jnp.zeros([], jnp.int32),
        jnp.zeros([], jnp.int32),
    )


def looked(
    plan: Watch,
    judge: Judge,
    seen: Watched,
    variables: Variables,
    step: Array,
    num_steps: Array,
    loss: Array,
) -> tuple[Watched, Array]:
    """Looks, if it is time after `step` steps; returns how many steps there will be."""
    place = _num_due(plan, step, num_steps)
    is_due = place > _num_due(plan, step - 1, num_steps)

    def look() -> Watched:
        found = {"step": step, "train/loss": loss, **_look(plan, judge, variables)}
        history = {
            name: line.at[place - 1].set(found[name].astype(jnp.float32))
            for name, line in seen.history.items()
        }
        return _best(plan, seen._replace(history=history), found, variables, step)

    seen = jax.lax.cond(is_due, look, lambda: seen)
    if plan.patience is not None:
        num_steps = jnp.where(seen.num_worse >= plan.patience, step, num_steps)
    return seen, num_steps


def _num_due(plan: Watch, step: Array, num_steps: Array) -> Array:
    """Looks that are due after so many steps, without a product that overflows."""
    whole, rest = jnp.divmod(num_steps, plan.num_looks)
    long = rest * (whole + 1)  # steps of the looks that are a step further apart
    ahead = jnp.maximum(whole, 1)
    return jnp.where(step < long, step // (whole + 1), rest + (step - long) // ahead)


def _best(
    plan: Watch, seen: Watched, found: dict[str, Array], variables: Variables, step: Any
) -> Watched:
    if plan.best_by is None:
        return seen
    value = found[plan.best_by].astype(jnp.float32)
    is_lower = plan.best_by.partition("/")[2] in LOWER_IS_BETTER
    value = value if is_lower else -value
    is_better = value < seen.best
    return seen._replace(
        variables=either(is_better, variables, seen.variables),
        best=jnp.where(is_better, value, seen.best),
        best_step=jnp.where(is_better, step, seen.best_step),
        num_worse=jnp.where(is_better, 0, seen.num_worse + 1),
    )


def _look(plan: Watch, judge: Judge, variables: Variables) -> dict[str, Array]:
    """Returns the metrics of all sets that are one number each."""
    found = dict[str, Array]()
    for name, (inputs, labels) in plan.sets.items():
        named = by_name(judge(variables, inputs, jnp.asarray(labels)))
        found |= {f"{name}/{key}": v for key, v in named.items() if jnp.ndim(v) == 0}
    return found
