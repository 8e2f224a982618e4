"""The loop: train, look at the pool, choose, ask, write down, as pure functions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxal import phases
from jaxal.metrics import classification_metrics, metrics_of
from jaxal.pacing import paced
from jaxal.phases import Parts
from jaxal.pools.refusals import Refusals, check_refusals
from jaxal.posteriors.dropout import mc_dropout
from jaxal.posteriors.networks import deterministic, mean_probabilities
from jaxal.rounds import ActiveLearner, LoopState, Phases, Progress
from jaxal.starting import Classes, as_test, check_answers_read, check_task
from jaxal.types import (
    Inputs,
    Learner,
    Model,
    Oracle,
    Pool,
    Posterior,
    Selection,
    Strategy,
    View,
)
from jaxal.viewing import asks_posterior, check_samples, make_look, make_measure


def active_learner(
    model: Model | None,
    learner: Learner,
    strategy: Strategy,
    oracle: Oracle | None = None,
    *,
    batch_size: int | Sequence[int],
    posterior: Posterior | None = None,
    test: tuple[Inputs, Array] | None = None,
    ignore: int | None = None,
    refusals: Refusals | None = None,
    measure: Literal["predictive", "network"] | None = None,
    chunk_size: int = 512,
    mesh: Mesh | None = None,
) -> ActiveLearner:
    """Returns the functions of an active-learning loop.

    A round is `ask` (train on what is labelled, look at the pool, choose) and `tell`
    (write the answers down). With people as oracles call the two yourself; with an
    array as oracle `step` is both, and works under `jit`, in `lax.scan` over rounds
    and, with `seed_axes`, under `vmap` over seeds. Nothing is compiled twice: the pool
    keeps its size and its masks change.

    Args:
      model: the network; None where a posterior is given, which knows what to ask.
      learner: how to train it, such as `supervised(model)`.
      strategy: how to choose, such as `strategy("badge")`.
      oracle: who answers in `step`; not needed for `ask` and `tell`.
      batch_size: rows to buy in a round, `K`; or one number a round, the last of which
        holds for all later rounds. `ask` names no more rows than are asked for; where
        it is traced, selections have the largest size, and the rest is not valid.
      posterior: where samples and predictions come from; by default
        `mc_dropout(model)` for a strategy that needs samples and `deterministic(model)`
        otherwise.
      test: inputs, as `make_pool` takes them, and labels `[T]` to measure on, each
        round.
      ignore: a test label, such as 255 or -1, whose rows are not measured on.
      refusals: when a row whose answer was -1 (NaN in regression) is asked again, and
        after how many such answers it is withdrawn; None: at any time, for ever.
        `jaxal.runs.run` has a rule of its own.
      measure: what metrics are of: "predictive", the posterior's predictive
        distribution, as papers report; or "network", without dropout. By default
        predictive, unless the learner brings an `evaluate` and no task. The result says
        in `measured` which it was: "predictive", "network" or "learner".
      chunk_size: rows of the pool looked at together, on each device.
      mesh: the mesh the pool is sharded over, by default that of the pool's arrays.

    Returns:
      An `ActiveLearner`. `init(key, pool, initial, trained=...)` starts with as many
      random rows, or those rows, labelled by the oracle; and with what the learner has
      trained elsewhere, which is asked as it is as long as nothing is labelled. Later
      fits start where the learner's `refit` says: from new weights, unless it is
      `warm_start`. `ask` keeps what it asked from being asked again until it is told.

    Raises:
      ValueError: a batch size is not positive; there is neither model nor posterior; or
        the strategy reads samples of a posterior that has a single one. At `init`:
        labels of the pool or the test set are outside `0 .. C - 1`, initial rows are
        none, or the strategy reads classes of a regression. A round whose samples are
        all equal is refused when it is looked at; where values are traced, its
        selection is invalid.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import active_learner, array_oracle, make_pool, strategy
      >>> from jaxal import supervised
      >>> from jaxal.models import logistic_regression
      >>> inputs = jnp.linspace(-1.0, 1.0, 40)[:, None]
      >>> labels = (inputs[:, 0] > 0.3).astype(int)
      >>> model = logistic_regression(2)
      >>> learner = active_learner(
      ...     model, supervised(model, epochs=10), strategy("margin"),
      ...     array_oracle(labels), batch_size=4, test=(inputs, labels))
      >>> state = learner.init(jax.random.key(0), make_pool(inputs), initial=4)
      >>> for i in range(3):
      ...   state, info = learner.step(jax.random.key(i), state)
      >>> int(state.pool.is_labelled.sum())
      16
    """
    sizes = _batch_sizes(batch_size)
    check_refusals(refusals)
    asks = posterior is None and asks_posterior(strategy)
    parts = (model, *learner, posterior, *(test or ()), ignore, measure, mesh)
    training = (*parts, chunk_size, asks)
    if posterior is None:
        posterior = _default_posterior(model, learner, strategy)
    check_samples(posterior, strategy)
    check_task(learner.task, strategy)
    measured = _measured(learner, measure)
    classes = _classes(learner, posterior, strategy)
    made = Parts(
        learner=learner,
        strategy=strategy,
        posterior=posterior,
        oracle=oracle,
        test=as_test(test, ignore),
        mesh=mesh,
        measured=measured,
        classes=classes,
        refusals=refusals,
        fit=jax.jit(learner.fit),
        fit_in_steps=_segmented(learner),
        fit_posterior=jax.jit(posterior.fit),
        judge=_judge(learner, posterior, measured, chunk_size),
        look=make_look(posterior, strategy, chunk_size, mesh),
        select=jax.jit(partial(_select, strategy, sizes, learner.capacity)),
    )
    facts = measured, strategy.name, sizes, classes, training, refusals
    return ActiveLearner(
        partial(phases.init, made),
        partial(phases.ask, made),
        partial(phases.tell_checked, made),
        partial(phases.step, made),
        Phases(
            partial(phases.train, made),
            partial(phases.fit_once, made),
            partial(phases.evaluate, made),
            partial(phases.measure, made),
            partial(phases.look, made),
            partial(phases.choose, made),
            partial(phases.decide, made),
        ),
        *facts,
    )


def _batch_sizes(batch_size: int | Sequence[int]) -> tuple[int, ...]:
    sizes = np.atleast_1d(np.asarray(batch_size))
    is_whole = np.issubdtype(sizes.dtype, np.integer) and sizes.ndim == 1
    if not sizes.size or not is_whole or sizes.min() < 1:
        raise ValueError(
            f"batch_size is {batch_size}, expected a positive number or one a round."
        )
    return tuple(sizes.tolist())


def _default_posterior(
    model: Model | None, learner: Learner, strategy: Strategy
) -> Posterior:
    if model is None:
        raise ValueError("There is neither a model nor a posterior. Pass one of them.")
    if not asks_posterior(strategy):
        return deterministic(model)
    task = learner.task
    combine = mean_probabilities if task is None else task.combine
    return mc_dropout(model, combine=combine)


def _measured(learner: Learner, measure: str | None) -> str:
    if measure not in (None, "predictive", "network"):
        raise ValueError(
            f"measure is {measure!r}, expected 'predictive', 'network' or None."
        )
    has_own = learner.evaluate is not None and learner.task is None
    return measure or ("learner" if has_own else "predictive")


def _judge(
    learner: Learner, posterior: Posterior, measured: str, chunk_size: int
) -> Callable[[Array, Any, Array, Array], Any]:
    own = learner.evaluate
    if measured == "learner" and own is not None:
        return jax.jit(lambda key, state, *rows: own(state, *rows))
    metrics = metrics_of(learner.task)
    return make_measure(posterior, metrics, of=measured, chunk_size=chunk_size)


def _classes(learner: Learner, posterior: Posterior, strategy: Strategy) -> Classes:
    """Only the model knows the number of classes; asked once.

    A task of the user's own says what it counts to; or nothing is known of its labels.
    """
    task, known = learner.task, list[int]()
    is_usual = task is None or task.metrics is classification_metrics
    if not is_usual and task.answers is None:
        return lambda state: None

    def classes(state: LoopState) -> int:
        if not known:
            shape = phases.shape_of(posterior, posterior.predict, state)
            width = shape.logits.shape[-1]
            known.append(width if is_usual else task.answers(width))
            is_of_classes = task is not None and is_usual
            check_answers_read(state.pool, strategy, is_of_classes, known[0] == width)
        return known[0]

    return classes


def _select(
    strategy: Strategy,
    sizes: tuple[int, ...],
    capacity: int | None,
    key: Array,
    view: View,
    memory: Any,
    index: Array,
    is_pending: Array | None,
    is_sound: Array,
) -> tuple[Selection, Any]:
    selection, learnt = strategy.step(key, view, memory, max(sizes))
    limit = jnp.asarray(sizes)[jnp.minimum(index, len(sizes) - 1)]
    if capacity is not None:  # never buy a label that cannot be trained on
        owed = 0 if is_pending is None else is_pending.sum()
        limit = jnp.minimum(limit, capacity - view.is_labelled.sum() - owed)
    is_due = jnp.cumsum(selection.is_valid) <= limit
    selection = selection._replace(is_valid=selection.is_valid & is_due)
    return phases.if_sound(is_sound, memory, learnt, selection)


def _segmented(learner: Learner) -> Callable[..., tuple[Any, Any]] | None:
    """A fit driven from the host a few steps at a time, with the same result."""
    if learner.start is None or learner.advance is None or learner.finish is None:
        return None
    start, finish = jax.jit(learner.start), jax.jit(learner.finish)
    advance = jax.jit(learner.advance, donate_argnums=0)

    def fit(key: Array, state: Any, pool: Pool, progress: Progress) -> tuple[Any, Any]:
        fit_state = start(key, state, pool)
        total = int(jnp.max(fit_state.num_steps))

        def run(done: int, size: int) -> None:
            nonlocal fit_state
            fit_state = jax.block_until_ready(advance(fit_state, pool, jnp.int32(size)))

        paced(run, total, progress)
        return finish(fit_state, pool)

    return fit
