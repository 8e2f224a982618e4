"""Training: a whole fit, of any length, as one compiled function."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxal.modes import any_promotion
from jaxal.pools.inputs import take_rows
from jaxal.posteriors.networks import deep_ensemble, deterministic
from jaxal.training import finishing, fitting, recipes
from jaxal.training.augment import Augmentation
from jaxal.training.fitting import FitSettings, FitState
from jaxal.training.optimizers import as_optimizer
from jaxal.training.rows import checked_weights
from jaxal.training.tasks import FitInfo, Task, evaluator, task_or_classes
from jaxal.training.watching import Watch
from jaxal.training.weights import Averaging, Refit, retrain
from jaxal.types import Inputs, Learner, Model, Pool, Variables


def supervised(
    model: Model,
    optimizer: Any = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    min_steps: int | None = None,
    capacity: int | None = None,
    augment: Augmentation | str | None = "auto",
    label_smoothing: float = 0.0,
    refit: Refit = retrain,
    averaging: Averaging | None = None,
    members: int | None = None,
    bootstrap: bool = False,
    task: Task | None = None,
    watch: Watch | None = None,
    row_weights: ArrayLike | None = None,
    eval_chunk_size: int = 512,
) -> Learner:
    r"""Returns a learner that minimises a loss, cross-entropy, on the labelled rows.

    `supervised(model)` alone is meant to do well with 20 labels as with 20,000: its
    settings are those of `jaxal.training.recipes`, and follow from the data. A network
    that is `self_scaling`, as those of the zoo are, finds the scale of its inputs from
    the pool, and for a task that standardises learns targets centred and scaled; its
    outputs are in the units of the targets. A network of a single dense layer is not
    trained but solved, as `logistic_head` is, with a penalty and a scaling of its
    columns that leave-one-out chooses anew in each fit, unless an optimiser, steps, a
    task, averaging, smoothing, an augmentation, something to watch or members without
    bootstrap are asked for: nothing that walks for 600 steps does as well.

    A fit is `max(epochs * ceil(L / batch_size), min_steps)` steps, a traced number: the
    executable of round 1 serves every later one. Every epoch visits each labelled row
    once, in an order drawn afresh; the places left in an epoch's last batch are filled
    with other labelled rows, whose loss does not count, so that batch statistics are
    those of real rows. Only `pool.labels` is read, which holds what oracles said.

    Args:
      model: the network; `variables["params"]` is trained.
      optimizer: of `jaxal.training.optimizers`, or any of optax, as it is:
        `optax.adam(1e-3)`, chains, schedules over steps. By default one cycle of AdamW
        that peaks at `recipes.learning_rate`, with `recipes.weight_decay` and gradients
        cut to norm 1; for networks with BatchNorm, of SGD that peaks at .1.
      epochs: passes over the labelled rows of a fit, by default 30.
      batch_size: rows of a step, by default 64; 32 for networks with BatchNorm.
      min_steps: a lower limit on the steps of a fit, for very few labels; by default
        600 (1,200 with BatchNorm), and none where `epochs` are given.
      capacity: the most labelled rows there will ever be; by default the size of the
        pool. Rows beyond it are not trained on, and a loop refuses to buy them.
      augment: from a key and a batch of inputs (all of them) to inputs of the same
        shapes; a name of `recipes.AUGMENTATIONS`, for each image among the inputs; or
        None. "auto" crops and mirrors images in colour of at least 16 x 16, shifts
        other images, and leaves the rest alone.
      label_smoothing: share of the target spread evenly over the classes.
      refit: where a fit starts: `retrain` (new weights), `warm_start`, or
        `shrink_and_perturb(...)`.
      averaging: `ema(...)` or `swa(...)` weights, None for the last ones.
      members: train this many networks in one vmapped program, for `deep_ensemble`.
      bootstrap: train each network on L draws with replacement from the L labelled
        rows, drawn afresh each fit and by each member.
      task: loss, metrics and how members are combined; by default classification,
        `jaxal.training.regression` has others.
      watch: what is looked at while it trains, and how the best weights are chosen,
        see `jaxal.watch`: early stopping, and records of each epoch.
      row_weights: `[N]`, how often the loss of each row of the pool counts, at least 0;
        of a network that is not solved only ratios do. Rows that come later count once.
      eval_chunk_size: rows evaluated together.

    Returns:
      A `Learner` whose state is the model's variables. A loop stops before anything is
      bought if its `FitInfo` is not sound: the weights or the loss are not finite, or
      the loss on the training rows is worse than that of class frequencies (of the mean
      in regression).

    Raises:
      TypeError: the optimizer is none.
      ValueError: a setting is out of its range, or an `Optimizer` would climb.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import make_pool, supervised
      >>> from jaxal.models import logistic_regression
      >>> inputs = jnp.array([[-1.0], [-2.0], [1.0], [2.0]])
      >>> pool = make_pool(inputs, jnp.array([0, 0, 1, 1]))
      >>> learner = supervised(logistic_regression(2), epochs=20)
      >>> state = learner.init(jax.random.key(0), pool.inputs)
      >>> state, info = jax.jit(learner.fit)(jax.random.key(1), state, pool)
      >>> float(learner.evaluate(state, inputs, jnp.array([0, 0, 1, 1])).accuracy)
      1.0
    """
    asked = (optimizer, epochs, min_steps, averaging, task, watch)
    is_default = all(setting is None for setting in asked) and augment == "auto"
    is_default &= label_smoothing == 0 and (members is None or bootstrap)
    if min_steps is None and epochs is not None:
        min_steps = 0
    epochs = recipes.EPOCHS if epochs is None else epochs
    _check_settings(epochs, batch_size, label_smoothing, members)
    if averaging is not None and watch is not None and watch.best_by is not None:
        raise ValueError(
            "averaging and best_by both say which weights a fit ends with. Pass one."
        )
    settings = FitSettings(
        None if optimizer is None else as_optimizer(optimizer),
        epochs,
        batch_size,
        min_steps,
        capacity,
        augment,
        task_or_classes(task, label_smoothing),
        refit,
        averaging,
        bootstrap,
        watch,
        checked_weights("row_weights", row_weights, (None,)),
        is_default,
    )
    return _learner(model, settings, members, eval_chunk_size)


def _learner(
    model: Model, settings: FitSettings, members: int | None, chunk_size: int
) -> Learner:
    task, posterior = settings.task, deterministic(model)
    if members is not None:
        posterior = deep_ensemble(model, members, combine=task.combine)

    @any_promotion
    def init(key: Array, inputs: Inputs) -> Variables:
        row = take_rows(inputs, slice(1))
        return _checked(_per_member(members, key, lambda k: model.init(k, row)))

    @any_promotion
    def start(key: Array, variables: Variables, pool: Pool) -> FitState:
        def one(key: Array, variables: Variables) -> FitState:
            return fitting.start(model, settings, key, variables, pool)

        return _per_member(members, key, one, variables)

    @any_promotion
    def advance(state: FitState, pool: Pool, num_steps: Array | int) -> FitState:
        def one(state: FitState) -> FitState:
            return fitting.advance(model, settings, state, pool, num_steps)

        return one(state) if members is None else jax.vmap(one)(state)

    @any_promotion
    def finish(state: FitState, pool: Pool) -> tuple[Variables, FitInfo]:
        def one(state: FitState) -> tuple[Variables, FitInfo]:
            return finishing.finish(model, settings, state, pool)

        if members is None:
            return one(state)
        variables, info = jax.vmap(one)(state)
        return variables, _info_of_all(info)

    @any_promotion
    def fit(key: Array, variables: Variables, pool: Pool) -> tuple[Variables, FitInfo]:
        state = start(key, variables, pool)
        return finish(advance(state, pool, jnp.iinfo(jnp.int32).max), pool)

    evaluate = evaluator(posterior.network, task.metrics, chunk_size)
    capacity = settings.capacity
    keeps = settings.refit is not retrain
    return Learner(init, fit, evaluate, start, advance, finish, capacity, task, keeps)


def _checked(variables: Any) -> Variables:
    if isinstance(variables, Mapping) and "params" in variables:
        return variables
    is_dict = isinstance(variables, Mapping)
    what = list(variables) if is_dict else type(variables).__name__
    raise ValueError(
        f"model.init returned {what}, expected a dict with 'params', which are "
        "trained, and what else the model keeps. Return {'params': weights}."
    )


def _info_of_all(info: FitInfo) -> FitInfo:
    """One info of what members say, who are trained on as many labels."""
    return FitInfo(
        info.loss.mean(),
        info.num_steps.max(),
        info.num_labelled[0],
        jnp.all(jnp.asarray(info.is_sound)),
        jnp.mean(jnp.asarray(info.final_loss)),
        jnp.mean(jnp.asarray(info.naive_loss)),
        jax.tree.map(lambda lines: jnp.nanmean(lines, axis=0), info.history),
        info.best_step,
    )


def _per_member(members: int | None, key: Array, fn: Callable, *args: Any) -> Any:
    if members is None:
        return fn(key, *args)
    return jax.vmap(fn)(jax.random.split(key, members), *args)


def _check_settings(
    epochs: int, batch_size: int | None, label_smoothing: float, members: int | None
) -> None:
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1.")
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"label_smoothing is {label_smoothing}, expected a share in [0, 1)."
        )
    if members is not None and members < 2:
        raise ValueError(
            f"members is {members}, expected None for one network or at least 2."
        )
