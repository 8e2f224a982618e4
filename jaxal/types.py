"""The contracts everything else in jaxal is written against: read this file first.

Dimension letters, fixed for the whole package and written in brackets:

    S  posterior samples      C  classes           K  picks of one round
    N  rows of the pool       D  features          L  labelled rows
    B  rows of one chunk      R  rounds            M  rows of a second set

Conventions: the key is the first argument, typed (`jax.random.key`), and consumed.
Functions take logits over the last axis; log-probabilities are logits too.
Logarithms are natural. A higher score is always more worth labelling.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from jax import Array

Inputs = Any
"""What a model takes, an entry a row: an array `[B, ...]`, or a pytree of them, such as
{"tokens": [B, T], "mask": [B, T]} or {"image": [B, H, W, 3], "features": [B, D]}."""

Variables = Mapping[str, Any]
"""What a model owns: "params" is trained, every other collection is carried along.

One collection is set, not carried: `SCALING`, where a model has it. It says in what
units inputs come and outputs go, see `jaxal.models.self_scaling`.
"""

SCALING = "scaling"
SCALE_ROWS = 1024
"""Rows that a learner shows to `Model.init` for a model to find its inputs' scale."""


class Output(NamedTuple):
    """What a model says about `B` rows."""

    logits: Array  # [B, C]
    features: Array | None = None  # [B, D], what the last layer sees


class ApplyFn(Protocol):
    """Evaluates a model.

    `key=None` is the deterministic network. A key switches dropout on and nothing
    else; `train=True` makes batch statistics be used and updated as well. Only a
    call with `train=True` may return variables that differ from those it was given.
    """

    def __call__(
        self,
        variables: Variables,
        inputs: Inputs,
        *,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Output, Variables]: ...


class Model(NamedTuple):
    """Any network of any framework: this is all jaxal sees of it."""

    init: Callable[[Array, Inputs], Variables]  # (key, inputs[B, ...])
    apply: ApplyFn


class Pool(NamedTuple):
    """A pool of fixed size; what changes between rounds is its masks.

    It is changed by the functions of `jaxal.pools.changes`, which keep labelled rows
    valid. Without the last two fields no row is waited for, and none can be added.
    """

    inputs: Inputs  # a pytree of [N, ...]
    labels: Array  # [N] int32, -1 where nobody has answered; or float32, NaN there
    is_labelled: Array  # [N] bool
    is_valid: Array  # [N] bool, False on rows that are withdrawn or hold nothing yet
    is_pending: Array | None = None  # [N] bool, asked and not answered yet
    is_spare: Array | None = None  # [N] bool, rows that hold nothing yet

    @property
    def is_available(self) -> Array:
        """Rows that may still be bought, `[N]` bool."""
        is_open = self.is_valid & ~self.is_labelled
        return is_open if self.is_pending is None else is_open & ~self.is_pending


class Selection(NamedTuple):
    """The rows chosen in one round."""

    indices: Array  # [K] int32 rows of the pool, distinct where valid
    scores: Array  # [K] what made each row win, documented per selector
    is_valid: Array  # [K] bool, False where fewer than K rows were available


class View(NamedTuple):
    """What a strategy may see of the pool. It holds no truth nobody has paid for.

    Fields a strategy did not name in `Strategy.needs` are None.
    """

    is_available: Array  # [N] bool
    is_labelled: Array  # [N] bool
    labels: Array | None = None  # [N] int32, -1 where nobody has answered
    logits: Array | None = None  # [N, C], of the deterministic network
    samples: Array | None = None  # [S, N, C] logits, one row of S per posterior sample
    features: Array | None = None  # [N, D]
    inputs: Inputs | None = None  # a pytree of [N, ...]
    rows: Any = None  # pytree of [N, ...], what `Strategy.rowwise` computed
    predictive: Array | None = None  # [N, C] log-probabilities, see `Posterior.predict`


PER_ROW = ("logits", "predictive", "samples", "features", "inputs")
"""Fields of a view that a chunk of rows has by itself."""


class SelectFn(Protocol):
    """Chooses `batch_size` (static) rows from a view."""

    def __call__(self, key: Array, view: View, batch_size: int) -> Selection: ...


class StepFn(Protocol):
    """Chooses `batch_size` (static) rows, and says what to remember of it."""

    def __call__(
        self, key: Array, view: View, memory: Any, batch_size: int
    ) -> tuple[Selection, Any]: ...


def no_memory(num_rows: int) -> tuple[()]:
    """Returns what a strategy remembers that remembers nothing."""
    del num_rows
    return ()


class Strategy(NamedTuple):
    """A way of choosing, as data: the loop computes what it needs, once.

    `step` chooses, given what it has remembered, and returns what to remember next; the
    loop carries that in its state, beginning with `init`. A strategy that remembers
    nothing carries `()`, and is made of a `SelectFn` by `stateless`.

    `rowwise`, where given, maps the fields named in `streams` for one chunk of rows
    to a pytree of `[B, ...]` arrays while the pool streams past, so that quantities
    as large as `[S, N, C]` never exist. `step` finds the result in `view.rows`
    and computes it itself when handed a view in which `rows` is None.
    """

    needs: frozenset[str]  # of View's fields, kept whole for `step`
    step: StepFn
    streams: frozenset[str] = frozenset()  # of View's fields, seen by `rowwise` only
    rowwise: Callable[[View], Any] | None = None
    name: str = "custom"
    init: Callable[[int], Any] = no_memory  # (number of rows) -> memory
    utility: Callable[[Array, View], Array] | None = None  # (key, view) -> [N], worth
    reads_classes: bool = False  # outputs as logits, labels as classes: no regression

    def select(self, key: Array, view: View, batch_size: int) -> Selection:
        """Chooses as in the first round: with nothing remembered."""
        memory = self.init(view.is_available.shape[0])
        return self.step(key, view, memory, batch_size)[0]


def stateless(
    needs: Iterable[str],
    select: SelectFn,
    streams: Iterable[str] = (),
    rowwise: Callable[[View], Any] | None = None,
    utility: Callable[[Array, View], Array] | None = None,
    reads_classes: bool = False,
) -> Strategy:
    """Returns the strategy that chooses by `select` and remembers nothing.

    Args:
      needs: fields of the view that `select` reads.
      select: `(key, view, batch_size) -> Selection`.
      streams: fields that only `rowwise` reads.
      rowwise: what is computed while the pool streams past, see `Strategy`.
      utility: `(key, view) -> [N]`, what each row is worth, where there is one.
      reads_classes: whether outputs are read as logits of classes, and labels as their
        numbers, so that a loop refuses it on a regression.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import View, stateless, top_k
      >>> def longest(key, view, batch_size):
      ...   length = jnp.abs(view.features).sum(-1)
      ...   return top_k(key, length, view.is_available, batch_size=batch_size)
      >>> view = View(jnp.ones(3, bool), jnp.zeros(3, bool), features=jnp.eye(3) * 2)
      >>> stateless({"features"}, longest).select(jax.random.key(0), view, 2).scores
      Array([2., 2.], dtype=float32)
    """

    def step(
        key: Array, view: View, memory: Any, batch_size: int
    ) -> tuple[Selection, Any]:
        return select(key, view, batch_size), memory

    return Strategy(
        frozenset(needs),
        step,
        frozenset(streams),
        rowwise,
        utility=utility,
        reads_classes=reads_classes,
    )


def same_variables(key: Array, variables: Any, pool: Pool) -> Any:
    """The `fit` of a posterior that asks the trained variables as they are."""
    del key, pool
    return variables


class Posterior(NamedTuple):
    """Predictive samples of a model: how they are fitted, drawn and put together.

    **A sample is one function of the input over the whole pool.** The loop hands the
    same key to every chunk of rows, so a row has the same logits in sample s wherever
    it stands, equal rows have equal logits, and joint statements about rows mean
    something. One whose draws need all rows at once, as those of a Gaussian process,
    says `is_joint`; its rows are then never chunked.

    What learners train, `variables`, is turned into a state once a round by `fit`.
    """

    num_samples: int  # S
    sample: Callable[[Array, Any, Inputs], Output]  # (key, state, inputs[B])
    # -> logits [S, B, C], features [B, D] or None
    predict: Callable[
        [Array, Any, Inputs], Output
    ]  # (key, state, inputs[B]), logits of
    # the predictive distribution [B, C]: what metrics measure
    network: Callable[[Any, Inputs], Output]  # (state, inputs[B]), without chance
    fit: Callable[[Array, Any, Pool], Any] = same_variables  # (key, variables, pool)
    members: int | None = None  # leading axis of the variables, None: no such axis
    is_joint: bool = False


class Learner(NamedTuple):
    """Training, as functions that are traced once.

    `fit` is `finish . advance . start`. A learner that has the three can be driven a
    few steps at a time, by one executable, so that progress can be shown and a person
    can interrupt; one without them is driven by `fit` alone.

    A loop measures the posterior's outputs with `task.metrics`. A learner without a
    task that has an `evaluate` is measured by that; one with neither classifies.
    """

    init: Callable[[Array, Inputs], Any]  # (key, inputs) -> state
    fit: Callable[[Array, Any, Pool], tuple[Any, Any]]  # -> (state, FitInfo)
    evaluate: Callable[[Any, Inputs, Array], Any] | None = None
    # (state, inputs, labels) -> Metrics of what was trained, by itself
    start: Callable[[Array, Any, Pool], Any] | None = None  # -> FitState
    advance: Callable[[Any, Pool, Any], Any] | None = None  # (_, _, number of steps)
    finish: Callable[[Any, Pool], tuple[Any, Any]] | None = None  # as fit
    capacity: int | None = None  # most rows it can train on, None: all of them
    task: Any = None  # a `Task`: its metrics, and how outputs are combined
    keeps: bool = True  # whether fits go on from the state they are given


class Oracle(Protocol):
    """Answers for rows of the pool: `[K]` int32, -1 for a row it will not label."""

    def __call__(self, key: Array, indices: Array) -> Array: ...
