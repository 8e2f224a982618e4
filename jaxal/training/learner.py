"""Training: a whole fit, of any length, as one compiled function."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.metrics import classification_metrics, log_likelihood
from jaxal.modes import any_promotion
from jaxal.pools.inputs import take_rows
from jaxal.pools.mapping import map_rows
from jaxal.posteriors.networks import deep_ensemble, deterministic, mean_probabilities
from jaxal.training import recipes, soundness
from jaxal.training.augment import Augmentation
from jaxal.training.optimizers import Optimizer, as_optimizer
from jaxal.training.targets import target_units
from jaxal.training.weights import Averaging, Refit, retrain
from jaxal.types import Inputs, Learner, Model, Pool, Variables


class FitInfo(NamedTuple):
    """What a fit has to say about itself."""

    loss: Array  # [] mean training loss over the last epoch, nats
    num_steps: Array  # [] int32 steps taken
    num_labelled: Array  # [] int32 rows trained on
    is_sound: Array | bool = True  # [] bool, a model that may be asked what to buy
    final_loss: Array | float = float("nan")  # [] of the trained model on those rows
    naive_loss: Array | float = float("nan")  # [] of guessing without looking at inputs


class FitState(NamedTuple):
    """A fit under way: what the next step needs."""

    key: Array  # data order, augmentation and dropout
    variables: Variables
    optimizer: Any  # state of the optimiser
    average: Any  # running average of the parameters, or ()
    order: Array  # [capacity] int32 rows of the pool, shuffled, the labelled first
    num_labelled: Array  # [] int32
    step: Array  # [] int32 steps taken
    num_steps: Array  # [] int32 steps to take
    loss: Array  # [] sum over the epoch under way, nats
    last_loss: Array  # [] mean over the last complete epoch, nats
    first_loss: Array  # [] of the first step, nats
    units: tuple[Array, Array]  # [] and [], mean and spread of the targets, or 0 and 1


class Task(NamedTuple):
    """What a network is trained for, and how its outputs are judged.

    A task that `standardises` has targets that are real numbers, and a loss that says
    the same in every unit up to a factor or a term: where the network keeps the scale
    of its outputs, it is trained on $(y - \bar y) / s$ of the labelled rows.
    """

    loss: Callable[[Array, Array], Array]  # (outputs [B, C], labels [B]) -> [B]
    metrics: Callable[[Array, Array], Any]  # of a test set, as in `Learner.evaluate`
    combine: Callable[[Array], Array]  # outputs of S networks [S, B, C] -> [B, C]
    guess: Callable[[Array, Array, int], Array] | None = None  # (labels [B], weights
    # [B], C) -> [C], the best outputs that do not look at inputs
    standardises: bool = False


class Recipe(NamedTuple):
    """How to train; see `supervised` for the meaning of each setting."""

    optimizer: Optimizer | None  # None: as `recipes` says, for the parameters at hand
    epochs: int
    batch_size: int
    min_steps: int
    capacity: int | None
    augment: Augmentation | str | None
    task: Task
    refit: Refit
    averaging: Averaging | None
    bootstrap: bool


def supervised(
    model: Model,
    optimizer: Any = None,
    *,
    epochs: int | None = None,
    batch_size: int = recipes.BATCH_SIZE,
    min_steps: int | None = None,
    capacity: int | None = None,
    augment: Augmentation | str | None = "auto",
    label_smoothing: float = 0.0,
    refit: Refit = retrain,
    averaging: Averaging | None = None,
    members: int | None = None,
    bootstrap: bool = False,
    task: Task | None = None,
    eval_chunk_size: int = 512,
) -> Learner:
    r"""Returns a learner that minimises a loss, cross-entropy, on the labelled rows.

    `supervised(model)` alone is meant to do well with 20 labels as with 20,000: its
    settings are those of `jaxal.training.recipes`, and follow from the data. A network
    that is `self_scaling`, as those of the zoo are, finds the scale of its inputs from
    the pool, and for a task that standardises learns targets centred and scaled; its
    outputs are in the units of the targets.

    A fit is `max(epochs * ceil(L / batch_size), min_steps)` steps, a traced number: the
    executable of round 1 serves every later one. Every epoch visits each labelled row
    once, in an order drawn afresh; the places left in an epoch's last batch are filled
    with other labelled rows, whose loss does not count, so that batch statistics are
    those of real rows. Only `pool.labels` is read, which holds what oracles said.

    Args:
      model: the network; `variables["params"]` is trained.
      optimizer: of `jaxal.training.optimizers`, or any of optax, as it is:
        `optax.adam(1e-3)`, chains, schedules over steps. By default AdamW with one
        cycle that peaks at `recipes.learning_rate`, `recipes.weight_decay`, and
        gradients cut to norm 1.
      epochs: passes over the labelled rows of a fit, by default 30.
      batch_size: rows of a step.
      min_steps: a lower limit on the steps of a fit, for very few labels; by default
        600, and none where `epochs` are given.
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
    if min_steps is None:
        min_steps = recipes.MIN_STEPS if epochs is None else 0
    epochs = recipes.EPOCHS if epochs is None else epochs
    _check_settings(epochs, batch_size, label_smoothing, members)
    task = _task(task, label_smoothing)
    recipe = Recipe(
        None if optimizer is None else as_optimizer(optimizer),
        epochs,
        batch_size,
        min_steps,
        capacity,
        augment,
        task,
        refit,
        averaging,
        bootstrap,
    )
    posterior = (
        deterministic(model)
        if members is None
        else deep_ensemble(model, members, combine=task.combine)
    )

    def init(key: Array, inputs: Inputs) -> Variables:
        row = take_rows(inputs, slice(1))
        variables = _per_member(members, key, lambda k: model.init(k, row))
        if not isinstance(variables, Mapping) or "params" not in variables:
            is_dict = isinstance(variables, Mapping)
            what = list(variables) if is_dict else type(variables).__name__
            raise ValueError(
                f"model.init returned {what}, expected a dict with 'params', which are "
                "trained, and what else the model keeps. Return {'params': weights}."
            )
        return variables

    @any_promotion
    def start(key: Array, variables: Variables, pool: Pool) -> FitState:
        def one(key: Array, variables: Variables) -> FitState:
            return _start(model, recipe, key, variables, pool)

        return _per_member(members, key, one, variables)

    @any_promotion
    def advance(state: FitState, pool: Pool, num_steps: Array | int) -> FitState:
        def one(state: FitState) -> FitState:
            return _advance(model, recipe, state, pool, num_steps)

        return one(state) if members is None else jax.vmap(one)(state)

    @any_promotion
    def finish(state: FitState, pool: Pool) -> tuple[Variables, FitInfo]:
        def one(state: FitState) -> tuple[Variables, FitInfo]:
            return _finish(model, recipe, state, pool)

        if members is None:
            return one(state)
        variables, info = jax.vmap(one)(state)
        return variables, _info_of_all(info)

    @any_promotion
    def fit(key: Array, variables: Variables, pool: Pool) -> tuple[Variables, FitInfo]:
        state = start(key, variables, pool)
        return finish(advance(state, pool, jnp.iinfo(jnp.int32).max), pool)

    def evaluate(variables: Variables, inputs: Inputs, labels: Array) -> Any:
        logits = map_rows(
            lambda rows: posterior.network(variables, rows).logits,
            inputs,
            chunk_size=eval_chunk_size,
        )
        return task.metrics(logits, labels)

    return Learner(init, fit, evaluate, start, advance, finish, capacity, task)


def _info_of_all(info: FitInfo) -> FitInfo:
    """One info of what members say, who took as many steps with as many labels."""
    return FitInfo(
        info.loss.mean(),
        info.num_steps[0],
        info.num_labelled[0],
        jnp.all(jnp.asarray(info.is_sound)),
        jnp.mean(jnp.asarray(info.final_loss)),
        jnp.mean(jnp.asarray(info.naive_loss)),
    )


def _per_member(members: int | None, key: Array, fn: Callable, *args: Any) -> Any:
    if members is None:
        return fn(key, *args)
    return jax.vmap(fn)(jax.random.split(key, members), *args)


def _start(
    model: Model, recipe: Recipe, key: Array, variables: Variables, pool: Pool
) -> FitState:
    key_weights, key_steps = jax.random.split(key)
    fresh = recipes.fresh_variables(model, key_weights, pool)
    given = recipes.scaled_once(variables, fresh)
    variables = recipe.refit(key_weights, variables, fresh)
    variables = recipes.with_scale(variables, fresh)
    capacity = recipe.capacity or pool.labels.shape[0]
    (order,) = jnp.nonzero(pool.is_labelled, size=capacity, fill_value=0)
    num_labelled = jnp.minimum(pool.is_labelled.sum(dtype=jnp.int32), capacity)
    if recipe.bootstrap:  # a key of its own: other recipes draw what they always drew
        order = _resample(jax.random.fold_in(key, 2), order, num_labelled)
    # With nothing labelled there is nothing to learn: what was given is asked as it is.
    variables = _unless_taught(num_labelled, variables, given)
    num_steps = recipe.epochs * _steps_per_epoch(recipe, num_labelled)
    zero = jnp.zeros([], jnp.int32)
    return FitState(
        key=key_steps,
        variables=variables,
        optimizer=_optimizer(recipe, variables).direction.init(variables["params"]),
        average=recipe.averaging.init(variables["params"]) if recipe.averaging else (),
        order=order.astype(jnp.int32),
        num_labelled=num_labelled,
        step=zero,
        num_steps=jnp.where(
            num_labelled > 0, jnp.maximum(num_steps, recipe.min_steps), 0
        ),
        loss=jnp.zeros([], jnp.float32),
        last_loss=jnp.full([], jnp.nan, jnp.float32),  # weak, it would compile twice
        first_loss=jnp.full([], jnp.nan, jnp.float32),
        units=_units(recipe, variables, order, num_labelled, pool),
    )


def _units(
    recipe: Recipe, variables: Variables, order: Array, num_labelled: Array, pool: Pool
) -> tuple[Array, Array]:
    is_kept = recipes.SCALING in variables and recipe.task.standardises
    if not is_kept:
        return jnp.zeros([], jnp.float32), jnp.ones([], jnp.float32)
    is_known = jnp.arange(order.shape[0]) < num_labelled
    return target_units(pool.labels[order], is_known)


def _targets(recipe: Recipe, state: FitState, labels: Array) -> Array:
    """Labels as the network is trained on them."""
    if not recipe.task.standardises:
        return labels
    mean, spread = state.units
    return (labels - mean[None]) / spread[None]


def _advance(
    model: Model, recipe: Recipe, state: FitState, pool: Pool, num_steps: Array | int
) -> FitState:
    left = state.num_steps - state.step
    return jax.lax.fori_loop(
        0,
        jnp.minimum(left, num_steps),
        lambda _, state: _train_step(model, recipe, state, pool),
        state,
    )


def _train_step(model: Model, recipe: Recipe, state: FitState, pool: Pool) -> FitState:
    key = jax.random.fold_in(state.key, state.step)
    key_order, key_augment, key_dropout = jax.random.split(key, 3)
    steps = _steps_per_epoch(recipe, state.num_labelled)
    place = state.step % steps
    order = jax.lax.cond(
        place == 0,
        lambda: _shuffle(key_order, state.order, state.num_labelled),
        lambda: state.order,
    )
    rows, weights = _batch(recipe, order, state.num_labelled, place)
    inputs = take_rows(pool.inputs, rows)
    if callable(recipe.augment):
        inputs = recipe.augment(key_augment, inputs)
    elif recipe.augment is not None:
        inputs = recipes.augmented(recipe.augment, key_augment, inputs)
    labels = _targets(recipe, state, pool.labels[rows])
    (loss, variables), grads = _loss_and_grads(
        model, recipe, key_dropout, state.variables, inputs, labels, weights
    )
    progress = state.step / state.num_steps
    params, optimizer = _update(recipe, progress, state, grads)
    total = jnp.where(place == 0, 0.0, state.loss) + loss
    return state._replace(
        variables={**variables, "params": params},
        optimizer=optimizer,
        average=recipe.averaging.update(state.average, params, progress)
        if recipe.averaging
        else (),
        order=order,
        step=state.step + 1,
        loss=total,
        last_loss=jnp.where(place == steps - 1, total / steps, state.last_loss),
        first_loss=jnp.where(state.step == 0, loss, state.first_loss),
    )


def _loss_and_grads(
    model: Model,
    recipe: Recipe,
    key: Array,
    variables: Variables,
    inputs: Inputs,
    labels: Array,
    weights: Array,
) -> tuple[tuple[Array, Variables], Any]:
    def loss_fn(params: Any) -> tuple[Array, Variables]:
        with_params = {**variables, "params": params}
        output, updated = model.apply(with_params, inputs, key=key, train=True)
        losses = recipe.task.loss(output.logits, labels)
        mean = (weights * losses).sum() / weights.sum()
        return mean.astype(jnp.float32), updated

    return jax.value_and_grad(loss_fn, has_aux=True)(variables["params"])


def cross_entropy(logits: Array, labels: Array, smoothing: float = 0.0) -> Array:
    r"""Returns cross-entropy against labels smoothed towards the uniform.

    $-\sum_c q_c \log p_c$ with $q = (1 - \epsilon) e_y + \epsilon / C$.

    Args:
      logits: `[B, C]`.
      labels: `[B]` integers in `0 .. C - 1`.
      smoothing: $\epsilon$ in [0, 1).

    Returns:
      `[B]` losses in nats, NaN for a label that is no class.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.training.learner import cross_entropy
      >>> cross_entropy(jnp.zeros([1, 2]), jnp.array([1])).round(4)
      Array([0.6931], dtype=float32)
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    target = log_likelihood(logits, labels)
    return -(1 - smoothing) * target - smoothing * log_probs.mean(axis=-1)


def _update(
    recipe: Recipe, progress: Array, state: FitState, grads: Any
) -> tuple[Any, Any]:
    params = state.variables["params"]
    rule = _optimizer(recipe, state.variables)
    updates, optimizer = rule.direction.update(grads, state.optimizer, params)
    rate = rule.schedule(progress)
    moved = jax.tree.map(lambda p, u: (p - rate * u).astype(p.dtype), params, updates)
    return moved, optimizer


def _optimizer(recipe: Recipe, variables: Variables) -> Optimizer:
    if recipe.optimizer is None:
        return recipes.default_optimizer(variables["params"])
    return recipe.optimizer


def _finish(
    model: Model, recipe: Recipe, state: FitState, pool: Pool
) -> tuple[Variables, FitInfo]:
    variables = state.variables
    if recipe.averaging is not None:
        params = recipe.averaging.finish(state.average, variables["params"])
        averaged = {**variables, "params": params}
        variables = _refresh_statistics(model, recipe, averaged, state, pool)
    verdict = _judge(model, recipe, variables, state, pool)
    info = FitInfo(state.last_loss, state.step, state.num_labelled, *verdict)
    if recipe.task.standardises:
        scaled = recipes.with_units(variables, state.units)
        variables = _unless_taught(state.num_labelled, scaled, variables)
    return variables, info


def _unless_taught(num_labelled: Array, taught: Variables, given: Variables) -> Any:
    """Variables after a fit, or those that were given where it has no labels."""

    def choose(new: Any, old: Any) -> Any:
        return jnp.where(num_labelled > 0, new, old).astype(new.dtype)

    return {
        name: jax.tree.map(choose, tree, given[name]) if name in given else tree
        for name, tree in taught.items()
    }


def _judge(
    model: Model, recipe: Recipe, variables: Variables, state: FitState, pool: Pool
) -> soundness.Verdict:
    rows = state.order[: soundness.JUDGED_ROWS]
    outputs = model.apply(variables, take_rows(pool.inputs, rows))[0].logits
    return soundness.judge(
        variables["params"],
        outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32)),
        _targets(recipe, state, pool.labels[rows]),
        jnp.arange(rows.shape[0]) < state.num_labelled,
        loss=recipe.task.loss,
        guess=recipe.task.guess,
        first_loss=state.first_loss,
        num_steps=state.step,
    )


def _refresh_statistics(
    model: Model, recipe: Recipe, variables: Variables, state: FitState, pool: Pool
) -> Variables:
    """Averaged weights need batch statistics of their own: means over one pass.

    The running averages at hand belong to the last weights, and a model moves them by
    a small step only, `new = m old + (1 - m) batch`. So every batch starts from the
    same old ones, `m` is read off the model, and the equation solved for the batch.
    """
    carried = {name: tree for name, tree in variables.items() if name != "params"}

    def after(i: Array | int, carried: Variables) -> Variables:
        rows, _ = _batch(recipe, state.order, state.num_labelled, i)
        inputs = take_rows(pool.inputs, rows)
        updated = model.apply({**variables, **carried}, inputs, train=True)[1]
        return {name: updated[name] for name in carried}

    def add(i: Array, total: Variables) -> Variables:
        return jax.tree.map(jnp.add, total, after(i, carried))

    first = after(0, carried)
    moved = after(0, jax.tree.map(_shifted, carried, first))
    steps = _steps_per_epoch(recipe, state.num_labelled)
    total = jax.lax.fori_loop(1, steps, add, first)
    # Nothing labelled: row 0 of the pool was never bought, and says nothing.
    is_known = state.num_labelled > 0
    means = jax.tree.map(
        lambda old, first, moved, total: jnp.where(
            is_known, _batch_mean(old, first, moved, total / steps), old
        ).astype(old.dtype),
        carried,
        first,
        moved,
        total,
    )
    return {**variables, **means}


def _shifted(old: Array, new: Array) -> Array:
    """Elsewhere, if training changes it at all: the model may use what it keeps."""
    shift = jnp.any(new != old) * (jnp.abs(old) + 1)
    return old + shift.astype(old.dtype)


def _batch_mean(old: Array, new: Array, moved: Array, mean: Array) -> Array:
    """What the batches said, from `new = m old + (1 - m) batch`.

    `moved` is what `new` becomes after `_shifted`. What does not follow the equation
    with one `m` for all elements is no running average, and stays as it is.
    """
    if not jnp.issubdtype(old.dtype, jnp.floating):
        return old
    slopes = (moved - new) / (jnp.abs(old) + 1)
    m = slopes.mean()
    tolerance = max(1e-3, 4 * float(jnp.finfo(old.dtype).eps))
    is_average = (jnp.abs(slopes - m) < tolerance).all() & (m >= 0) & (m < 1 - 1e-5)
    is_average &= jnp.any(new != old)
    return jnp.where(
        is_average, old + (mean - old) / jnp.where(is_average, 1 - m, 1), old
    )


def _steps_per_epoch(recipe: Recipe, num_labelled: Array) -> Array:
    return jnp.maximum(-(-num_labelled // recipe.batch_size), 1)


def _shuffle(key: Array, order: Array, num_labelled: Array) -> Array:
    """Permutes the labelled rows among themselves, leaving the unused tail behind."""
    is_used = jnp.arange(order.shape[0]) < num_labelled
    noise = jax.random.uniform(key, order.shape)
    return order[jnp.argsort(jnp.where(is_used, noise, 2.0))]


def _resample(key: Array, order: Array, num_labelled: Array) -> Array:
    """Replaces the labelled rows by as many draws from them, with replacement."""
    drawn = jax.random.randint(key, order.shape, 0, jnp.maximum(num_labelled, 1))
    is_used = jnp.arange(order.shape[0]) < num_labelled
    return jnp.where(is_used, order[drawn], order)


def _batch(
    recipe: Recipe, order: Array, num_labelled: Array, place: Array | int
) -> tuple[Array, Array]:
    slots = place * recipe.batch_size + jnp.arange(recipe.batch_size)
    rows = order[slots % jnp.maximum(num_labelled, 1)]
    return rows, (slots < num_labelled).astype(jnp.float32)


def _task(task: Task | None, label_smoothing: float) -> Task:
    if task is None:
        loss = partial(cross_entropy, smoothing=label_smoothing)
        guess = soundness.class_frequencies
        return Task(loss, classification_metrics, mean_probabilities, guess)
    if label_smoothing:
        raise ValueError(
            f"label_smoothing is {label_smoothing}, and a task was given. Smooth the "
            "labels in the task's loss."
        )
    return task


def _check_settings(
    epochs: int, batch_size: int, label_smoothing: float, members: int | None
) -> None:
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1.")
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"label_smoothing is {label_smoothing}, expected a share in [0, 1)."
        )
    if members is not None and members < 2:
        raise ValueError(
            f"members is {members}, expected None for one network or at least 2."
        )
