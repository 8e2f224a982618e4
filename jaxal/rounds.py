"""What a loop is made of: its state, its parts, and what it says of a round."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
from jax import Array
from jax.typing import ArrayLike

from jaxal import checks
from jaxal.metrics import Metrics
from jaxal.pools.changes import reveal
from jaxal.pools.refusals import Refusals
from jaxal.types import Pool, Selection
from jaxal.viewing import Looked

Progress = Callable[[int, int], None]  # (done, total), called on the host


class LoopState(NamedTuple):
    """What the next round needs."""

    pool: Pool
    learner: Any  # what the learner trained last
    round: Array  # [] int32, rounds told so far
    memory: Any = ()  # what the strategy remembers, () for most
    refused: Any = ()  # a `Refused`, where the loop has a rule for such rows


class RoundInfo(NamedTuple):
    """What a person wants to know of a round."""

    metrics: Any  # Metrics of the task on the test set, None without one
    fit: Any  # FitInfo of the learner
    num_labelled: Array  # [] int32 labels the fit was given
    num_bad_rows: Array  # [] int32 rows whose outputs are NaN or +inf
    are_samples_equal: Array  # [] bool, the strategy reads samples and none differs


class RoundKeys(NamedTuple):
    """One stream for each thing that is random, so changing one leaves the others."""

    fit: Array
    posterior: Array
    selection: Array
    oracle: Array
    posterior_fit: Array


class Init(Protocol):
    """Begins: a state in which the initial rows are labelled."""

    def __call__(
        self, key: Array, pool: Pool, initial: Any = None, *, trained: Any = None
    ) -> LoopState: ...


class Tell(Protocol):
    """Writes answers down, see `tell`."""

    def __call__(
        self,
        state: LoopState,
        asked: Selection | ArrayLike | Sequence[int],
        labels: ArrayLike | Sequence[Any],
        *,
        ends_round: bool = True,
    ) -> LoopState: ...


class Train(Protocol):
    """Trains on the labelled rows."""

    def __call__(
        self, key: Array, state: LoopState, progress: Progress | None = None
    ) -> tuple[LoopState, Any]: ...


class Evaluate(Protocol):
    """Measures on the test set, None without one."""

    def __call__(
        self, key: Array, state: LoopState, *, fitted: Any = None
    ) -> Metrics | None: ...


class Measure(Protocol):
    """Measures on other examples."""

    def __call__(
        self,
        key: Array,
        state: LoopState,
        inputs: Any,
        labels: Array,
        *,
        fitted: Any = None,
    ) -> Metrics: ...


class Look(Protocol):
    """Looks at the pool with what was trained."""

    def __call__(
        self,
        key: Array,
        state: LoopState,
        progress: Progress | None = None,
        *,
        fitted: Any = None,
    ) -> Looked: ...


class Phases(NamedTuple):
    """The parts of `ask`, for callers that time or show them one by one.

    Each takes the round's own key; `progress(done, total)` is called on the host.
    `fit` is the posterior's, of what was trained: measuring and looking fit it
    themselves unless they are given what it returned. `choose` is `decide` for a
    strategy that remembers nothing.
    """

    train: Train
    fit: Callable[[Array, LoopState], Any]  # the posterior's state
    evaluate: Evaluate
    measure: Measure
    look: Look
    choose: Callable[[Array, LoopState, Looked], Selection]
    decide: Callable[[Array, LoopState, Looked], tuple[LoopState, Selection]]


class ActiveLearner(NamedTuple):
    """An active learner: `step` is `tell . oracle . ask`."""

    init: Init
    ask: Callable[[Array, LoopState], tuple[LoopState, Selection, RoundInfo]]
    tell: Tell
    step: Callable[[Array, LoopState], tuple[LoopState, RoundInfo]]
    phases: Phases
    measured: str = "predictive"  # what metrics are of, see `active_learner`
    strategy: str = ""  # its name
    batch_sizes: tuple[int, ...] = ()  # rows to buy, a number a round
    classes: Callable[[LoopState], int | None] = lambda state: None  # how many
    training: tuple[Any, ...] = ()  # of the same objects, loops train and measure alike
    refusals: Refusals | None = None  # when rows that nobody answers are asked again


def round_keys(key: Array) -> RoundKeys:
    """Splits a round's key into the streams of a round."""
    checks.check_key(key)
    return RoundKeys(
        *(jax.random.fold_in(key, i) for i in range(len(RoundKeys._fields)))
    )


def tell(
    state: LoopState,
    asked: Selection | ArrayLike | Sequence[int],
    labels: ArrayLike | Sequence[Any],
    *,
    num_classes: int | None = None,
    ends_round: bool = True,
) -> LoopState:
    """Returns the state in which the oracle's answers are written down.

    Args:
      state: of the loop. Rows that were asked with it and have no answer yet are not
        asked again before they are told.
      asked: a selection of `K` rows, or their numbers `[K]`: all that was asked or a
        part of it, in any order.
      labels: `[K]` integers, -1 for a row that got no answer, which may be asked again;
        `active_learner(..., refusals=Refusals())` says when, and when no more.
      num_classes: the number of classes `C`, where it is known.
      ends_round: False where more answers of the round are to come.

    Returns:
      The state after these answers; of the next round, if they end this one.

    Raises:
      ValueError: there are not `K` labels, one is outside `-1 .. C - 1`, or a row is
        none of the pool, named twice, labelled already or withdrawn. Where values are
        traced, under `jit`, such an answer is not written down.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import LoopState, Selection, make_pool, tell
      >>> state = LoopState(make_pool(jnp.zeros([4, 1])), {}, jnp.int32(0))
      >>> row = Selection(jnp.array([3]), jnp.array([0.0]), jnp.array([True]))
      >>> tell(state, row, jnp.array([1])).pool.labels
      Array([-1, -1, -1,  1], dtype=int32)
    """
    pool = reveal(state.pool, asked, labels, num_classes=num_classes)
    return state._replace(pool=pool, round=state.round + int(ends_round))


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
