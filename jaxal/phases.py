"""The phases of a round, each a function of what a loop is made of."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxal import checks
from jaxal.pools.answers import as_selection, without_blanks
from jaxal.pools.changes import wait_for
from jaxal.pools.inputs import take_rows
from jaxal.pools.mapping import either
from jaxal.pools.mesh import in_force
from jaxal.pools.refusals import (
    Refusals,
    none_refused,
    rested,
    with_refusals,
    without_worn,
)
from jaxal.rounds import LoopState, Progress, RoundInfo, round_keys, tell
from jaxal.starting import (
    Classes,
    Test,
    arrived,
    check_known,
    check_labelled,
    check_memory,
    check_truth,
    first_answers,
    first_state,
    say_what_is_lost,
)
from jaxal.types import (
    Learner,
    Oracle,
    Pool,
    Posterior,
    Selection,
    Strategy,
    same_variables,
)
from jaxal.viewing import Looked, reads_samples, refuse_unsound, refuse_unsound_fit


class Parts(NamedTuple):
    """What a loop is made of; what can be compiled is compiled once."""

    learner: Learner
    strategy: Strategy
    posterior: Posterior
    oracle: Oracle | None
    test: Test | None
    mesh: Mesh | None
    measured: str  # what metrics are of, see `active_learner`
    classes: Classes
    refusals: Refusals | None  # a rule for rows that nobody answers
    fit: Any  # (key, state, pool) -> state and info, compiled
    fit_in_steps: Callable[..., tuple[Any, Any]] | None  # the same, with progress
    fit_posterior: Callable[[Array, Any, Pool], Any]
    judge: Callable[[Array, Any, Any, Array], Any]
    look: Callable[..., Looked]
    select: Callable[..., tuple[Selection, Any]]


def init(
    parts: Parts, key: Array, pool: Pool, initial: Any = None, *, trained: Any = None
) -> LoopState:
    """Returns the first state, in which the initial rows are labelled."""
    checks.check_key(key)
    key_rows, key_learner, key_oracle = jax.random.split(key, 3)
    learner, strategy = parts.learner, parts.strategy
    state = first_state(key_learner, pool, learner, strategy, trained)
    check_known(pool, parts.test, parts.classes(state), strategy)
    if parts.refusals is not None:
        state = state._replace(refused=none_refused(pool))
    asked = first_answers((key_rows, key_oracle), pool, parts.oracle, initial)
    if asked is not None:  # before round 0
        state = _told(parts, state, *asked, state.round - 1, ends_round=False)
    if trained is not None:
        say_what_is_lost(state.pool, learner)
    if reads_samples(strategy):  # refuses now what would fail after a training
        trained, _ = parts.fit.eval_shape(key, state.learner, state.pool)
        posterior = parts.posterior
        shape_of(posterior, posterior.sample, state._replace(learner=trained))
    return state


def train(
    parts: Parts, key: Array, state: LoopState, progress: Progress | None = None
) -> tuple[LoopState, Any]:
    """Trains on the labelled rows."""
    state = arrived(state, parts.mesh)
    check_memory(parts.strategy, state)  # before what takes long
    check_labelled(state.pool, parts.classes(state))
    given = round_keys(key).fit, state.learner, state.pool
    if progress is None or parts.fit_in_steps is None:
        trained, info = parts.fit(*given)
    else:
        trained, info = parts.fit_in_steps(*given, progress)
    refuse_unsound_fit(info)
    return state._replace(learner=trained), info


def fit_once(parts: Parts, key: Array, state: LoopState) -> Any:
    """Returns the posterior's state, of what was trained."""
    state = arrived(state, parts.mesh)
    if parts.posterior.fit is same_variables:
        return state.learner
    return parts.fit_posterior(round_keys(key).posterior_fit, state.learner, state.pool)


def measure(
    parts: Parts,
    key: Array,
    state: LoopState,
    inputs: Any,
    labels: Array,
    *,
    fitted: Any = None,
) -> Any:
    """Measures on examples."""
    check_truth(state.pool, labels, parts.classes(state))
    if parts.measured == "learner":
        fitted = state.learner
    elif fitted is None:
        fitted = fit_once(parts, key, state)
    return parts.judge(round_keys(key).posterior, fitted, inputs, labels)


def evaluate(parts: Parts, key: Array, state: LoopState, *, fitted: Any = None) -> Any:
    """Measures on the test set, None without one."""
    if parts.test is None:
        return None
    return measure(parts, key, state, *parts.test, fitted=fitted)


def look(
    parts: Parts,
    key: Array,
    state: LoopState,
    progress: Progress | None = None,
    *,
    fitted: Any = None,
) -> Looked:
    """Looks at the pool with what was trained."""
    state = arrived(state, parts.mesh)
    fitted = fit_once(parts, key, state) if fitted is None else fitted
    pool = state.pool
    if parts.refusals is not None:
        pool = rested(parts.refusals, state.refused, pool, state.round)
    return parts.look(round_keys(key).posterior, fitted, pool, progress)


def decide(
    parts: Parts, key: Array, state: LoopState, looked: Looked
) -> tuple[LoopState, Selection]:
    """Chooses rows, and says what the strategy remembers of it."""
    refuse_unsound(looked)
    state = arrived(state, parts.mesh)
    # Under jit a selector cannot see how rows are spread, unless it is told so;
    # without, XLA would gather the features of all rows on every device.
    with in_force(parts.mesh, state.pool):
        picks, memory = parts.select(
            round_keys(key).selection,
            looked.view,
            state.memory,
            state.round,
            state.pool.is_pending,
            looked.is_sound,
        )
    return state._replace(memory=memory), picks


def choose(parts: Parts, key: Array, state: LoopState, looked: Looked) -> Selection:
    """Chooses rows, for a strategy that remembers nothing."""
    return decide(parts, key, state, looked)[1]


def ask(
    parts: Parts, key: Array, state: LoopState
) -> tuple[LoopState, Selection, RoundInfo]:
    """Trains, looks and chooses; names no more rows than are asked for."""
    state, selection, info = _ask_batch(parts, key, state)
    return state, without_blanks(selection), info


def _ask_batch(
    parts: Parts, key: Array, state: LoopState
) -> tuple[LoopState, Selection, RoundInfo]:
    state = arrived(state, parts.mesh)
    num_labelled = state.pool.is_labelled.sum(dtype=jnp.int32)
    state, info = train(parts, key, state)
    fitted = fit_once(parts, key, state)
    metrics = evaluate(parts, key, state, fitted=fitted)
    looked = look(parts, key, state, fitted=fitted)
    decided, selection = decide(parts, key, state, looked)
    is_sound = jnp.asarray(getattr(info, "is_sound", True)).all()
    known = state.memory, decided.memory
    selection, memory = if_sound(is_sound, *known, selection)
    pool = wait_for(state.pool, selection.indices, selection.is_valid)
    state = state._replace(pool=pool, memory=memory)
    objections = looked.num_bad_rows, looked.are_samples_equal
    return state, selection, RoundInfo(metrics, info, num_labelled, *objections)


def tell_checked(
    parts: Parts,
    state: LoopState,
    asked: Selection | ArrayLike | Sequence[int],
    labels: ArrayLike | Sequence[Any],
    *,
    ends_round: bool = True,
) -> LoopState:
    """Writes answers down that are classes of the model, see `tell`."""
    state = arrived(state, parts.mesh)
    return _told(parts, state, asked, labels, state.round, ends_round=ends_round)


def _told(
    parts: Parts, state: LoopState, asked: Any, labels: Any, index: Any, **how: bool
) -> LoopState:
    """The state after answers; those that round `index` did not get are counted."""
    told = tell(state, asked, labels, num_classes=parts.classes(state), **how)
    rule = parts.refusals
    if rule is None:
        return told
    rows = as_selection(asked)
    asked = rows.indices, jnp.asarray(rows.is_valid), index
    refused = with_refusals(state.refused, told.pool, *asked)
    return told._replace(pool=without_worn(rule, refused, told.pool), refused=refused)


def step(parts: Parts, key: Array, state: LoopState) -> tuple[LoopState, RoundInfo]:
    """Asks, has the oracle answer, and tells."""
    if parts.oracle is None:
        raise ValueError(
            "step has nobody to ask. Pass oracle= to active_learner, or call ask, "
            "get the labels yourself, and call tell."
        )
    state, selection, info = _ask_batch(parts, key, state)
    # Where fewer rows are left than a batch has, the rest names a row there is.
    rows = jnp.where(selection.is_valid, selection.indices, 0)
    labels = parts.oracle(round_keys(key).oracle, rows)
    return tell_checked(parts, state, selection, labels), info


def shape_of(
    posterior: Posterior, ask: Callable[[Array, Any, Array], Any], state: LoopState
) -> Any:
    """Returns what a posterior says of one row, from shapes alone."""

    def one_row(key: Array, state: LoopState) -> Any:
        fitted = posterior.fit(key, state.learner, state.pool)
        return ask(key, fitted, take_rows(state.pool.inputs, slice(1)))

    return jax.eval_shape(one_row, jax.random.key(0), state)


def if_sound(
    is_sound: Array, memory: Any, learnt: Any, selection: Selection
) -> tuple[Selection, Any]:
    """What was decided; traced code cannot raise, so nothing is bought or learnt."""
    selection = selection._replace(is_valid=selection.is_valid & is_sound)
    return selection, either(is_sound, learnt, memory)
