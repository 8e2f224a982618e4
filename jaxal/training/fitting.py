"""A fit of any length, as functions that are traced once: its start, and its steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.pools.inputs import take_rows
from jaxal.training import recipes, watching
from jaxal.training.augment import Augmentation
from jaxal.training.batches import batch, resampled, shuffled, steps_per_epoch
from jaxal.training.heads.single_layer import is_single_layer
from jaxal.training.optimizers import Optimizer, walk
from jaxal.training.rows import weights_of
from jaxal.training.targets import target_units
from jaxal.training.tasks import Task, evaluator
from jaxal.training.weights import Averaging, Refit
from jaxal.types import Inputs, Model, Output, Pool, Variables


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
    watched: Any  # what looks have seen, or ()


class FitSettings(NamedTuple):
    """How to train; see `supervised` for the meaning of each setting."""

    optimizer: Optimizer | None  # None: as `recipes` says, for the parameters at hand
    epochs: int
    batch_size: int | None  # the same
    min_steps: int | None  # the same
    capacity: int | None
    augment: Augmentation | str | None
    task: Task
    refit: Refit
    averaging: Averaging | None
    bootstrap: bool
    watch: watching.Watch | None
    row_weights: Array | None  # [N]
    is_default: bool  # nothing was asked for: a single layer is solved, not trained


class Suited(NamedTuple):
    """What `FitSettings` leaves to the network, settled."""

    optimizer: Optimizer
    batch_size: int
    min_steps: int


def start(
    model: Model, settings: FitSettings, key: Array, variables: Variables, pool: Pool
) -> FitState:
    """Returns a fit in which no step has been taken."""
    key_weights, key_steps = jax.random.split(key)
    fresh = recipes.fresh_variables(model, key_weights, pool)
    given = recipes.scaled_once(variables, fresh)
    variables = settings.refit(key_weights, variables, fresh)
    variables = recipes.with_scale(variables, fresh)
    capacity = settings.capacity or pool.labels.shape[0]
    (order,) = jnp.nonzero(pool.is_labelled, size=capacity, fill_value=0)
    num_labelled = jnp.minimum(pool.is_labelled.sum(dtype=jnp.int32), capacity)
    if settings.bootstrap:  # a key of its own: other recipes draw what they always drew
        order = resampled(jax.random.fold_in(key, 2), order, num_labelled)
    # With nothing labelled there is nothing to learn: what was given is asked as it is.
    variables = unless_taught(num_labelled, variables, given)
    suited = suited_to(settings, variables)
    num_steps = settings.epochs * steps_per_epoch(suited.batch_size, num_labelled)
    num_steps = jnp.maximum(num_steps, suited.min_steps)
    if is_solved(model, settings, variables, pool):
        num_steps = jnp.zeros_like(num_steps)
    zero = jnp.zeros([], jnp.int32)
    units = _units(settings, variables, order, num_labelled, pool)
    watched: Any = ()
    if settings.watch is not None:
        judge = _judge_of(model, settings, units)
        watched = watching.unseen(settings.watch, judge, variables)
    return FitState(
        key=key_steps,
        variables=variables,
        optimizer=suited.optimizer.direction.init(variables["params"]),
        average=settings.averaging.init(variables["params"])
        if settings.averaging
        else (),
        order=order.astype(jnp.int32),
        num_labelled=num_labelled,
        step=zero,
        num_steps=jnp.where(num_labelled > 0, num_steps, 0),
        loss=jnp.zeros([], jnp.float32),
        last_loss=jnp.full([], jnp.nan, jnp.float32),  # weak, it would compile twice
        first_loss=jnp.full([], jnp.nan, jnp.float32),
        units=units,
        watched=watched,
    )


def _units(
    settings: FitSettings,
    variables: Variables,
    order: Array,
    num_labelled: Array,
    pool: Pool,
) -> tuple[Array, Array]:
    is_kept = recipes.SCALING in variables and settings.task.standardises
    if not is_kept:
        return jnp.zeros([], jnp.float32), jnp.ones([], jnp.float32)
    is_known = jnp.arange(order.shape[0]) < num_labelled
    return target_units(pool.labels[order], is_known)


def targets_of(settings: FitSettings, state: FitState, labels: Array) -> Array:
    """Returns labels as the network is trained on them."""
    if not settings.task.standardises:
        return labels
    mean, spread = state.units
    return (labels - mean[None]) / spread[None]


def weights_in(settings: FitSettings, rows: Array, mean: Array) -> Array:
    """Returns how much rows `[B]` count, 1 on average over those that are labelled."""
    return weights_of(settings.row_weights, rows) / mean


def mean_weight(settings: FitSettings, state: FitState) -> Array:
    """Returns the mean `[]` over labelled rows, the same throughout a fit."""
    if settings.row_weights is None:
        return jnp.ones([], jnp.float32)
    is_used = jnp.arange(state.order.shape[0]) < state.num_labelled
    every = jnp.where(is_used, weights_of(settings.row_weights, state.order), 0)
    mean = every.sum() / jnp.maximum(state.num_labelled, 1)
    return jnp.maximum(mean, jnp.finfo(mean.dtype).tiny)


def advance(
    model: Model,
    settings: FitSettings,
    state: FitState,
    pool: Pool,
    num_steps: Array | int,
) -> FitState:
    """Returns the fit so many steps further, or at its end."""
    left = state.num_steps - state.step
    end = state.step + jnp.minimum(left, num_steps)
    mean = mean_weight(settings, state)
    return jax.lax.while_loop(  # a look may end it earlier
        lambda state: state.step < jnp.minimum(end, state.num_steps),
        lambda state: _train_step(model, settings, state, pool, mean),
        state,
    )


def _train_step(
    model: Model, settings: FitSettings, state: FitState, pool: Pool, mean: Array
) -> FitState:
    key = jax.random.fold_in(state.key, state.step)
    key_order, key_augment, key_dropout = jax.random.split(key, 3)
    suited = suited_to(settings, state.variables)
    steps = steps_per_epoch(suited.batch_size, state.num_labelled)
    place = state.step % steps
    order = jax.lax.cond(
        place == 0,
        lambda: shuffled(key_order, state.order, state.num_labelled),
        lambda: state.order,
    )
    rows, is_first = batch(suited.batch_size, order, state.num_labelled, place)
    weights = weights_in(settings, rows, mean) * is_first
    inputs = take_rows(pool.inputs, rows)
    if callable(settings.augment):
        inputs = settings.augment(key_augment, inputs)
    elif settings.augment is not None:
        inputs = recipes.augmented(settings.augment, key_augment, inputs)
    labels = targets_of(settings, state, pool.labels[rows])
    known = inputs, labels, weights, is_first.sum()
    loss_of = _loss_of(model, settings, key_dropout, state.variables, *known)
    progress = state.step / state.num_steps
    loss, variables, params, optimizer = _update(
        suited.optimizer, progress, state, loss_of
    )
    total = jnp.where(place == 0, 0.0, state.loss) + loss
    variables, done = {**variables, "params": params}, state.step + 1
    watched, num_steps = state.watched, state.num_steps
    if settings.watch is not None:
        judge = _judge_of(model, settings, state.units)
        told = variables, done, num_steps, total / (place + 1)
        watched, num_steps = watching.looked(settings.watch, judge, watched, *told)
    return state._replace(
        variables=variables,
        optimizer=optimizer,
        average=settings.averaging.update(state.average, params, progress)
        if settings.averaging
        else (),
        order=order,
        step=done,
        num_steps=num_steps,
        watched=watched,
        loss=total,
        last_loss=jnp.where(place == steps - 1, total / steps, state.last_loss),
        first_loss=jnp.where(state.step == 0, loss, state.first_loss),
    )


def _judge_of(
    model: Model, settings: FitSettings, units: tuple[Array, Array]
) -> watching.Judge:
    def network(variables: Variables, inputs: Inputs) -> Output:
        if settings.task.standardises:
            variables = recipes.with_units(variables, units)
        return model.apply(variables, inputs)[0]

    return evaluator(network, settings.task.metrics)


def _loss_of(
    model: Model,
    settings: FitSettings,
    key: Array,
    variables: Variables,
    inputs: Inputs,
    labels: Array,
    weights: Array,
    count: Array,
) -> Callable[[Any], tuple[Array, Variables]]:
    def loss_of(params: Any) -> tuple[Array, Variables]:
        with_params = {**variables, "params": params}
        output, updated = model.apply(with_params, inputs, key=key, train=True)
        losses = settings.task.loss(output.logits, labels)
        mean = (weights * losses).sum() / count
        return mean.astype(jnp.float32), updated

    return loss_of


def _update(
    rule: Optimizer, progress: Array, state: FitState, loss_of: Callable
) -> tuple[Array, Variables, Any, Any]:
    params = state.variables["params"]
    (loss, variables), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    what = {"value": loss, "grad": grads, "value_fn": lambda p: loss_of(p)[0]}
    updates, optimizer = walk(rule, grads, state.optimizer, params, **what)
    rate = rule.schedule(progress)
    moved = jax.tree.map(lambda p, u: (p - rate * u).astype(p.dtype), params, updates)
    return loss, variables, moved, optimizer


def is_solved(
    model: Model, settings: FitSettings, variables: Variables, pool: Pool
) -> bool:
    """Returns whether the network is a single layer, which is solved, not trained."""
    row = take_rows(pool.inputs, slice(1))
    return settings.is_default and is_single_layer(model, variables, row)


def suited_to(settings: FitSettings, variables: Variables) -> Suited:
    """Returns the steps of a fit, as `recipes` says where nothing was asked for."""
    usual = recipes.usual(variables)
    size = settings.batch_size or usual.batch_size
    least = usual.min_steps if settings.min_steps is None else settings.min_steps
    optimizer = settings.optimizer or recipes.default_optimizer(variables, size)
    return Suited(optimizer, size, least)


def unless_taught(num_labelled: Array, taught: Variables, given: Variables) -> Any:
    """Returns variables after a fit, or those given where it has no labels."""

    def choose(new: Any, old: Any) -> Any:
        return jnp.where(num_labelled > 0, new, old).astype(new.dtype)

    return {
        name: jax.tree.map(choose, tree, given[name]) if name in given else tree
        for name, tree in taught.items()
    }
