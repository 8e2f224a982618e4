"""The loop: train, look at the pool, choose, ask, write down, as pure functions."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, NamedSharding

from jaxal import checks
from jaxal.metrics import Metrics
from jaxal.pacing import paced
from jaxal.pools.answers import check_answers
from jaxal.pools.initial import random_rows
from jaxal.pools.pool import replicate, reveal
from jaxal.posteriors.networks import deterministic, mc_dropout
from jaxal.types import (
    Learner,
    Model,
    Oracle,
    Pool,
    Posterior,
    Selection,
    Strategy,
    View,
)
from jaxal.viewing import Looked, make_look

Progress = Callable[[int, int], None]  # (done, total), called on the host


class LoopState(NamedTuple):
    """What the next round needs."""

    pool: Pool
    learner: Any  # what the learner trained last
    round: Array  # [] int32, rounds told so far
    memory: Any = ()  # what the strategy remembers, () for most


class RoundInfo(NamedTuple):
    """What a person wants to know of a round."""

    metrics: Metrics | None  # on the test set, None without one
    fit: Any  # FitInfo of the learner
    num_labelled: Array  # [] int32 labels the fit was given
    num_bad_rows: Array  # [] int32 rows whose outputs are NaN or +inf


class RoundKeys(NamedTuple):
    """One stream for each thing that is random, so changing one leaves the others."""

    fit: Array
    posterior: Array
    selection: Array
    oracle: Array


class Phases(NamedTuple):
    """The parts of `ask`, for callers that time or show them one by one.

    Each takes the round's own key; `progress(done, total)` is called on the host.
    `choose` is `decide` for a strategy that remembers nothing.
    """

    train: Callable[..., tuple[LoopState, Any]]  # (key, state, progress=None)
    evaluate: Callable[[LoopState], Metrics | None]
    look: Callable[..., Looked]  # (key, state, progress=None)
    choose: Callable[[Array, LoopState, Looked], Selection]
    decide: Callable[[Array, LoopState, Looked], tuple[LoopState, Selection]]


class ActiveLearner(NamedTuple):
    """An active learner: `step` is `tell . oracle . ask`."""

    init: Callable[..., LoopState]  # (key, pool, initial=None)
    ask: Callable[[Array, LoopState], tuple[LoopState, Selection, RoundInfo]]
    tell: Callable[[LoopState, Selection, Array], LoopState]
    step: Callable[[Array, LoopState], tuple[LoopState, RoundInfo]]
    phases: Phases


def round_keys(key: Array) -> RoundKeys:
    """Splits a round's key into the streams of a round."""
    checks.check_key(key)
    return RoundKeys(
        *(jax.random.fold_in(key, i) for i in range(len(RoundKeys._fields)))
    )


def active_learner(
    model: Model,
    learner: Learner,
    strategy: Strategy,
    oracle: Oracle | None = None,
    *,
    batch_size: int | Sequence[int],
    posterior: Posterior | None = None,
    test: tuple[Array, Array] | None = None,
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
      model: the network.
      learner: how to train it, such as `supervised(model)`.
      strategy: how to choose, such as `strategy("badge")`.
      oracle: who answers in `step`; not needed for `ask` and `tell`.
      batch_size: rows to buy in a round, `K`; or one number a round, the last of which
        holds for all later rounds. Selections then have the largest size, and rows
        beyond the round's own number are not valid.
      posterior: where `samples` come from; by default `mc_dropout(model)` for a
        strategy that needs samples and `deterministic(model)` otherwise.
      test: `([T, ...], [T])` inputs and labels to measure on, each round.
      chunk_size: rows of the pool looked at together, on each device.
      mesh: the mesh the pool is sharded over, by default that of the pool's arrays.

    Returns:
      An `ActiveLearner`.

    Raises:
      ValueError: a batch size is not positive, or an ensemble's size is unclear.

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
    posterior = _default_posterior(model, strategy) if posterior is None else posterior
    look = make_look(posterior, strategy, chunk_size, mesh)
    fit, evaluate = jax.jit(learner.fit), jax.jit(learner.evaluate)
    fit_in_steps = _segmented(learner)
    select = jax.jit(
        lambda key, view, memory, index: _select(
            strategy, sizes, learner, key, view, memory, index
        )
    )

    def init(key: Array, pool: Pool, initial: int | Array | None = None) -> LoopState:
        return _init(learner, strategy, oracle, key, pool, initial)

    def train(
        key: Array, state: LoopState, progress: Progress | None = None
    ) -> tuple[LoopState, Any]:
        run = fit if progress is None or fit_in_steps is None else fit_in_steps
        extra = {} if run is fit else {"progress": progress}
        trained, info = run(round_keys(key).fit, state.learner, state.pool, **extra)
        return state._replace(learner=trained), info

    def measure(state: LoopState) -> Metrics | None:
        return None if test is None else evaluate(state.learner, *test)

    def look_at(
        key: Array, state: LoopState, progress: Progress | None = None
    ) -> Looked:
        return look(round_keys(key).posterior, state.learner, state.pool, progress)

    def decide(
        key: Array, state: LoopState, looked: Looked
    ) -> tuple[LoopState, Selection]:
        _refuse_bad_rows(looked.num_bad_rows)
        # Under jit a selector cannot see how rows are spread, unless it is told so;
        # without, XLA would gather the features of all rows on every device.
        with _mesh_of(state.pool, mesh):
            picks, memory = select(
                round_keys(key).selection, looked.view, state.memory, state.round
            )
        # Traced code cannot raise: with bad rows about, nothing is bought or learnt.
        is_sound = looked.num_bad_rows == 0
        memory = jax.tree.map(
            lambda new, old: jnp.where(is_sound, new, old), memory, state.memory
        )
        picks = picks._replace(is_valid=picks.is_valid & is_sound)
        return state._replace(memory=memory), picks

    def choose(key: Array, state: LoopState, looked: Looked) -> Selection:
        return decide(key, state, looked)[1]

    def ask(key: Array, state: LoopState) -> tuple[LoopState, Selection, RoundInfo]:
        num_labelled = state.pool.is_labelled.sum(dtype=jnp.int32)
        state, info = train(key, state)
        metrics = measure(state)
        looked = look_at(key, state)
        state, selection = decide(key, state, looked)
        bad = looked.num_bad_rows
        return state, selection, RoundInfo(metrics, info, num_labelled, bad)

    known: list[int] = []

    def tell_checked(
        state: LoopState, selection: Selection, labels: Array
    ) -> LoopState:
        if not known:  # only the model knows the number of classes; asked once
            rows = state.pool.inputs[:1]
            shapes = jax.eval_shape(posterior.predict, state.learner, rows)
            known.append(shapes.logits.shape[-1])
        return tell(state, selection, labels, num_classes=known[0])

    def step(key: Array, state: LoopState) -> tuple[LoopState, RoundInfo]:
        if oracle is None:
            raise ValueError(
                "step has nobody to ask. Pass oracle= to active_learner, or call ask, "
                "get the labels yourself, and call tell."
            )
        state, selection, info = ask(key, state)
        labels = oracle(round_keys(key).oracle, selection.indices)
        return tell_checked(state, selection, labels), info

    phases = Phases(train, measure, look_at, choose, decide)
    return ActiveLearner(init, ask, tell_checked, step, phases)


def tell(
    state: LoopState,
    selection: Selection,
    labels: Array,
    *,
    num_classes: int | None = None,
) -> LoopState:
    """Returns the state in which the oracle's answers are written down.

    Args:
      state: the state that was asked.
      selection: what was asked, `K` rows.
      labels: `[K]` integers, -1 for a row that got no answer.
      num_classes: the number of classes `C`, where it is known.

    Returns:
      The state of the next round.

    Raises:
      ValueError: there are not `K` labels, one is outside `-1 .. C - 1`, or a selected
        row is labelled already. Values are checked where they are known, outside `jit`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import LoopState, Selection, make_pool, tell
      >>> state = LoopState(make_pool(jnp.zeros([4, 1])), {}, jnp.int32(0))
      >>> row = Selection(jnp.array([3]), jnp.array([0.0]), jnp.array([True]))
      >>> tell(state, row, jnp.array([1])).pool.labels
      Array([-1, -1, -1,  1], dtype=int32)
    """
    labels = check_answers(state.pool, selection, labels, num_classes)
    pool = reveal(state.pool, selection.indices, labels, selection.is_valid)
    return state._replace(pool=pool, round=state.round + 1)


def seed_axes(state: LoopState) -> LoopState:
    """Returns the axes for `vmap` over seeds: all but the pool's inputs have one.

    Args:
      state: any state of the loop.

    Returns:
      A `LoopState` of 0 and None, for `in_axes` and `out_axes`: fifty seeds share one
      copy of the pool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import LoopState, make_pool, seed_axes
      >>> state = LoopState(make_pool(jnp.zeros([4, 1])), {}, jnp.int32(0))
      >>> seed_axes(state).pool.inputs is None, seed_axes(state).round
      (True, 0)
    """
    axes = jax.tree.map(lambda _: 0, state)
    return axes._replace(pool=axes.pool._replace(inputs=None))


def _batch_sizes(batch_size: int | Sequence[int]) -> tuple[int, ...]:
    sizes = (batch_size,) if isinstance(batch_size, int) else tuple(batch_size)
    if not sizes or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(
            f"batch_size is {batch_size}, expected a positive number or one a round."
        )
    return sizes


def _default_posterior(model: Model, strategy: Strategy) -> Posterior:
    wants_samples = "samples" in strategy.needs | strategy.streams
    return mc_dropout(model) if wants_samples else deterministic(model)


def _select(
    strategy: Strategy,
    sizes: tuple[int, ...],
    learner: Learner,
    key: Array,
    view: View,
    memory: Any,
    index: Array,
) -> tuple[Selection, Any]:
    selection, memory = strategy.step(key, view, memory, max(sizes))
    limit = jnp.asarray(sizes)[jnp.minimum(index, len(sizes) - 1)]
    if learner.capacity is not None:  # never buy a label that cannot be trained on
        limit = jnp.minimum(limit, learner.capacity - view.is_labelled.sum())
    is_due = jnp.cumsum(selection.is_valid) <= limit
    return selection._replace(is_valid=selection.is_valid & is_due), memory


def _init(
    learner: Learner,
    strategy: Strategy,
    oracle: Oracle | None,
    key: Array,
    pool: Pool,
    initial: int | Array | None,
) -> LoopState:
    key_rows, key_learner, key_oracle = jax.random.split(key, 3)
    if isinstance(initial, int):
        initial = random_rows(key_rows, pool.is_available, num_rows=initial)
    if initial is not None:
        if oracle is None:
            raise ValueError(
                "initial rows need an oracle to label them. Pass oracle= to "
                "active_learner, or give make_pool the labels you have."
            )
        rows = jnp.asarray(initial, jnp.int32)
        answers = oracle(key_oracle, rows)
        pool = reveal(pool, rows, answers, pool.is_available[rows])
    state = learner.init(key_learner, pool.inputs[:1])
    memory = strategy.init(pool.labels.shape[0])
    zero = jnp.zeros([], jnp.int32)
    return LoopState(pool, *replicate((state, zero, memory), pool))


def _mesh_of(pool: Pool, mesh: Mesh | None) -> Any:
    """A context in which the pool's mesh is known, also to code that is traced."""
    if isinstance(pool.labels, jax.core.Tracer):
        return contextlib.nullcontext()
    sharding = pool.labels.sharding
    if mesh is None and isinstance(sharding, NamedSharding):
        mesh = sharding.mesh  # type: ignore[assignment]
    return contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh)


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


def _refuse_bad_rows(num_bad_rows: Array) -> None:
    if isinstance(num_bad_rows, jax.core.Tracer):
        return
    if (bad := int(num_bad_rows)) > 0:
        raise FloatingPointError(
            f"The model's outputs are NaN or infinite on {bad} rows of the pool; "
            "nothing was selected. Lower the learning rate, or check the inputs."
        )
