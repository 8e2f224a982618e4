"""What labels buy: random ones, and those that BADGE asks for, round by round."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxal
from accelerator.measuring import in_one_call
from accelerator.parts.fit import affordable, is_whole
from accelerator.plan import Context, Row
from accelerator.subjects.images import Data, crop_flip, load
from accelerator.subjects.networks import name_of, network

AIMS = {"random": 0.85, "badge": 0.88}  # of CIFAR-10's test images, 10,000 labels


def measure(context: Context) -> Iterator[Row]:
    """Yields random labels at the last budget, BADGE's rounds, random's others."""
    size, data = context.scale.training, load(context)
    wanted = size.budgets[-1] + sum(size.budgets)  # of random once, of BADGE
    epochs = affordable(context, size.budget_epochs, wanted)
    parts = _Parts(context, data, epochs, *_learner(context, epochs))
    yield _random(parts, size.budgets[-1])
    yield from _badge(parts)
    for budget in reversed(size.budgets[:-1]):
        yield _random(parts, budget)


class _Parts(NamedTuple):
    """What every loop shares, the learner too: training is compiled once."""

    context: Context
    data: Data
    epochs: int
    model: jaxal.Model
    learner: jaxal.Learner


def _learner(context: Context, epochs: int) -> tuple[jaxal.Model, jaxal.Learner]:
    size = context.scale.training
    model = network(size)
    learner = jaxal.supervised(
        model,
        epochs=epochs,
        batch_size=size.batch_sizes[0],
        capacity=size.budgets[-1],
        augment=crop_flip,
    )
    return model, learner


def _random(parts: _Parts, budget: int) -> Row:
    loop, state = _loop(parts, "random", budget)
    (_, _, info), row = in_one_call(loop.ask, jax.random.key(1), state)
    return _row(parts, "random", budget, info.metrics) | row


def _badge(parts: _Parts) -> Iterator[Row]:
    """Trains, measures and chooses; a row's seconds are those of all three."""
    budgets, truth = parts.context.scale.training.budgets, parts.data.train[1]
    loop, state = _loop(parts, "badge", budgets[0])
    for i, budget in enumerate(budgets):
        (state, picks, info), row = in_one_call(loop.ask, jax.random.key(i), state)
        yield _row(parts, "badge", budget, info.metrics) | row
        if i + 1 < len(budgets):
            state = loop.tell(state, picks, truth[np.asarray(picks.indices)])


def _loop(
    parts: _Parts, name: str, initial: int
) -> tuple[jaxal.ActiveLearner, jaxal.LoopState]:
    size, data = parts.context.scale.training, parts.data
    steps = tuple(int(step) for step in np.diff(size.budgets))
    loop = jaxal.active_learner(
        parts.model,
        parts.learner,
        jaxal.strategy(name),
        jaxal.array_oracle(data.train[1]),
        batch_size=steps or 1,
        test=data.test,
        chunk_size=size.chunk_sizes[0],
    )
    pool = jaxal.make_pool(data.train[0])
    return loop, loop.init(jax.random.key(0), pool, initial=initial)


def _row(parts: _Parts, name: str, budget: int, metrics: Any) -> Row:
    size, epochs = parts.context.scale.training, parts.epochs
    row: Row = {
        "name": f"{name}, {budget:,} labels",
        "size": f"{name_of(size)}, {epochs} epochs",
        "accuracy": float(metrics.accuracy),
        "data": parts.data.name,
    }
    if is_whole(parts.context, parts.data) and budget == size.budgets[-1]:
        row["aim"] = f"{AIMS[name]:.0%}"
    if epochs < size.budget_epochs:
        row["cut"] = f"{size.budget_epochs} epochs wanted"
    return row
