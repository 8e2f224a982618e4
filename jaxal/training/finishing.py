"""How a fit ends: with which weights, and whether they can be believed."""

import jax.numpy as jnp
from jax import Array

from jaxal.pools.inputs import take_rows
from jaxal.pools.mapping import either
from jaxal.training import recipes, soundness
from jaxal.training.batches import batch, steps_per_epoch
from jaxal.training.fitting import (
    FitSettings,
    FitState,
    is_solved,
    mean_weight,
    suited_to,
    targets_of,
    unless_taught,
    weights_in,
)
from jaxal.training.heads.single_layer import solve_layer
from jaxal.training.normalization import refreshed
from jaxal.training.rows import weights_of
from jaxal.training.tasks import FitInfo
from jaxal.types import Model, Pool, Variables


def finish(
    model: Model, settings: FitSettings, state: FitState, pool: Pool
) -> tuple[Variables, FitInfo]:
    """Returns what a fit ends with, and what it has to say about itself."""
    variables, steps, loss = state.variables, state.step, state.last_loss
    if is_solved(model, settings, variables, pool):
        is_used = jnp.arange(state.order.shape[0]) < state.num_labelled
        weights = weights_of(settings.row_weights, state.order)
        known = state.order, is_used, weights * is_used
        solved, loss, steps = solve_layer(model, variables, pool, *known)
        variables = unless_taught(state.num_labelled, solved, variables)
    if settings.averaging is not None:
        params = settings.averaging.finish(state.average, variables["params"])
        averaged = {**variables, "params": params}
        variables = _with_statistics(model, settings, averaged, state, pool)
    seen = state.watched
    if settings.watch is not None and settings.watch.best_by is not None:
        has_best = seen.best_step > 0
        variables = either(has_best, seen.variables, variables)
    verdict = _judge(model, settings, variables, state, pool)
    info = FitInfo(loss, steps, state.num_labelled, *verdict)
    if settings.watch is not None:
        info = info._replace(history=seen.history, best_step=seen.best_step)
    if settings.task.standardises:
        scaled = recipes.with_units(variables, state.units)
        variables = unless_taught(state.num_labelled, scaled, variables)
    return variables, info


def _with_statistics(
    model: Model,
    settings: FitSettings,
    variables: Variables,
    state: FitState,
    pool: Pool,
) -> Variables:
    size, count = suited_to(settings, variables).batch_size, state.num_labelled

    def after(i: Array | int, variables: Variables) -> Variables:
        rows, _ = batch(size, state.order, count, i)
        return model.apply(variables, take_rows(pool.inputs, rows), train=True)[1]

    return refreshed(after, variables, steps_per_epoch(size, count), count > 0)


def _judge(
    model: Model,
    settings: FitSettings,
    variables: Variables,
    state: FitState,
    pool: Pool,
) -> soundness.Verdict:
    rows = state.order[: soundness.JUDGED_ROWS]
    outputs = model.apply(variables, take_rows(pool.inputs, rows))[0].logits
    return soundness.judge(
        variables["params"],
        outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32)),
        targets_of(settings, state, pool.labels[rows]),
        jnp.arange(rows.shape[0]) < state.num_labelled,
        weights_in(settings, rows, mean_weight(settings, state)),
        loss=settings.task.loss,
        guess=settings.task.guess,
        first_loss=state.first_loss,
        num_steps=state.step,
    )
