"""What a loop is made of: its state, its parts, and what it says of a round."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxal import checks
from jaxal.metrics import Metrics
from jaxal.types import Pool, Selection
from jaxal.viewing import Looked

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
    are_samples_equal: Array  # [] bool, the strategy reads samples and none differs


class RoundKeys(NamedTuple):
    """One stream for each thing that is random, so changing one leaves the others."""

    fit: Array
    posterior: Array
    selection: Array
    oracle: Array
    posterior_fit: Array


class Phases(NamedTuple):
    """The parts of `ask`, for callers that time or show them one by one.

    Each takes the round's own key; `progress(done, total)` is called on the host.
    `fit` is the posterior's, of what was trained: measuring and looking fit it
    themselves unless they are given what it returned. `choose` is `decide` for a
    strategy that remembers nothing.
    """

    train: Callable[..., tuple[LoopState, Any]]  # (key, state, progress=None)
    fit: Callable[[Array, LoopState], Any]  # the posterior's state
    evaluate: Callable[..., Metrics | None]  # (key, state, *, fitted=None)
    measure: Callable[..., Metrics]  # (key, state, inputs, labels, *, fitted=None)
    look: Callable[..., Looked]  # (key, state, progress=None, *, fitted=None)
    choose: Callable[[Array, LoopState, Looked], Selection]
    decide: Callable[[Array, LoopState, Looked], tuple[LoopState, Selection]]


class ActiveLearner(NamedTuple):
    """An active learner: `step` is `tell . oracle . ask`."""

    init: Callable[..., LoopState]  # (key, pool, initial=None)
    ask: Callable[[Array, LoopState], tuple[LoopState, Selection, RoundInfo]]
    tell: Callable[[LoopState, Selection, Array], LoopState]
    step: Callable[[Array, LoopState], tuple[LoopState, RoundInfo]]
    phases: Phases
    measured: str = "predictive"  # what metrics are of, see `active_learner`


def round_keys(key: Array) -> RoundKeys:
    """Splits a round's key into the streams of a round."""
    checks.check_key(key)
    return RoundKeys(
        *(jax.random.fold_in(key, i) for i in range(len(RoundKeys._fields)))
    )
